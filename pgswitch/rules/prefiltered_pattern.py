"""What a file of rules gets for a compiled pattern; see patterns.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any


class PrefilteredPattern:
    """Stands for a ``re.Pattern``, of which three methods are others.

    All is in slots: found in half the time that ``__getattr__`` takes.
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
        """Take the pattern, and what is called in place of its methods."""
        for name in self.__slots__[1:]:
            setattr(self, name, getattr(compiled, name))
        self._compiled = compiled
        self.search = search
        self.match = match
        self.fullmatch = fullmatch

    def __repr__(self) -> str:
        """Return what the pattern would."""
        return repr(self._compiled)

    def __reduce__(self) -> tuple[Any, ...]:
        """Be copied as the compiled pattern that this stands for."""
        return re.compile, (self._compiled.pattern,)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """Say re.Pattern to those who ask by isinstance()."""
        return re.Pattern
