"""The demos, and the PostgreSQL servers and poolers that they and the tests start.

Nothing of the service imports this package; its extra packages are those of
``pgswitch[demo]``.
"""
