"""The compiled pattern that patterns.py gives to rules.

A file of its own because it must not be compiled: it poses as ``re.Pattern``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any


class PrefilteredPattern:
    """Replaces a ``re.Pattern``, with three methods of its own.

    The others are copied to slots: twice as fast as ``__getattr__``.
    """

    __slots__ = (
        "_compiled",
        "findall",
        "finditer",
        "flags",
        "fullmatch",
        "groupindex",
        "groups",
        "match",
        "pattern",
        "scanner",
        "search",
        "split",
        "sub",
        "subn",
    )

    def __init__(
        self,
        compiled: re.Pattern[str],
        search: Callable[..., Any],
        match: Callable[..., Any],
        fullmatch: Callable[..., Any],
    ) -> None:
        """Take the pattern and the replacements of three of its methods."""
        for name in self.__slots__[1:]:
            setattr(self, name, getattr(compiled, name))
        self._compiled = compiled
        self.search = search
        self.match = match
        self.fullmatch = fullmatch

    def __repr__(self) -> str:
        """Return the pattern's repr."""
        return repr(self._compiled)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy as the compiled pattern."""
        return re.compile, (self._compiled.pattern,)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """Return re.Pattern, for isinstance()."""
        return re.Pattern
