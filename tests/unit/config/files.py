"""Configuration files that exist in a test's memory only."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from pgswitch.config.load import load
from pgswitch.config.model import Configuration


def reader_of(files: dict[str, str]) -> Callable[[str], str]:
    """Return a function that reads those files, and no others."""

    def read(path: str) -> str:
        if path not in files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return files[path]

    return read


def loaded(text: str, **included: str) -> Configuration:
    """Return the configuration of a file ``x.ini``; ``a="..."`` makes a file ``a``."""
    return load("x.ini", read=reader_of({"x.ini": text, **included}))
