"""Chooses between the compiled and the interpreted hot path.

``pip install`` compiles the files of the hot path if there is a C compiler (setup.py);
each source lies next to its extension.  ``PGSWITCH_PURE=1`` in the environment selects
the sources.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path

HOT_FOLDERS = ("auth", "config", "net", "pool", "relay", "rules", "stats", "wire")


def prefer_sources() -> None:
    """Import the hot path from its sources; call this before importing any of it."""
    here = Path(__file__).parent
    for folder in HOT_FOLDERS:
        path = str(here / folder)
        # The import system's own entry, without extension modules.
        sys.path_importer_cache[path] = FileFinder(
            path, (SourceFileLoader, SOURCE_SUFFIXES)
        )


def is_compiled() -> bool:
    """Return whether the hot path is compiled (imports it if necessary)."""
    module = import_module("pgswitch.wire.framing")
    return not str(module.__file__).endswith(".py")
