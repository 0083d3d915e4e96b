"""pgswitch: a PostgreSQL connection pooler, query router and switchover proxy."""

import os

__version__ = "0.1.0"

if os.environ.get("PGSWITCH_PURE"):
    from pgswitch.compiled import prefer_sources

    prefer_sources()
