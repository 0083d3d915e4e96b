"""Whether the hot path runs compiled or interpreted, and how to choose.

``pip install`` compiles the files of the hot path where a C compiler is there
(setup.py); beside each extension lies its source.  With ``PGSWITCH_PURE=1`` in the
environment the sources are run.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path

HOT_FOLDERS = ("auth", "config", "net", "pool", "relay", "rules", "stats", "wire")


def prefer_sources() -> None:
    """Have the hot path imported from its sources; before any of it is."""
    here = Path(__file__).parent
    for folder in HOT_FOLDERS:
        path = str(here / folder)
        # What the import system would put there itself, less extension modules.
        sys.path_importer_cache[path] = FileFinder(
            path, (SourceFileLoader, SOURCE_SUFFIXES)
        )


def is_compiled() -> bool:
    """Tell whether the hot path that is, or would be, imported is compiled."""
    module = import_module("pgswitch.wire.framing")
    return not str(module.__file__).endswith(".py")
