"""The commands beside serving: ``pgswitch check``, ``rules`` and ``replay``."""
