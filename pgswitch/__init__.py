"""pgswitch: a PostgreSQL connection pooler, query router and switchover proxy."""

__version__ = "0.1.0"
