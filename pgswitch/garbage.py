"""Tunes Python's garbage collector so that it runs rarely.

Reference counts free our objects; connections break their reference cycles when they
end (net/transport.py).  The collector is only a safety net.  By default it runs after
every 700 new objects, which is a few dozen connections, and regularly visits everything
that Twisted, OpenSSL and we have imported: that was a tenth of a connection's cost.
"""

from __future__ import annotations

import gc
from typing import Final

NEW_OBJECTS: Final = 20_000
"""Allocations minus deallocations before the collector runs: about 500 connections."""
GENERATION: Final = 20
"""Collections of one generation before the next older one is collected."""


def tune_gc() -> None:
    """Exempt all present objects from collection, and collect less often.

    Called when the service is built and begins to serve.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, GENERATION, GENERATION)
