"""Keeps Python's collector of cycles from looking at what is not garbage.

Our objects are let go of by their reference counts; connections break their circles
when they end (net/transport.py).  The collector is there for what somebody overlooks.
By default it runs after each 700 new objects, which is a few dozen connections, and
every so often looks at all that Twisted, OpenSSL and we have imported as well: a
tenth of what a connection cost.
"""

from __future__ import annotations

import gc
from typing import Final

NEW_OBJECTS: Final = 20_000
"""More new than freed before the collector runs: about 500 connections."""
GENERATION: Final = 20
"""Runs over the youngest objects for one over older ones too."""


def tune_gc() -> None:
    """Take all there is as there to stay, and look for garbage less often.

    For the moment when everything is built and work begins.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, GENERATION, GENERATION)
