"""The commands that do not serve: ``pgswitch check``, ``rules`` and ``replay``."""
