"""A compiled pattern with a look at the text before; see patterns.py."""

from __future__ import annotations

import re
import sys
from typing import Any


class Sieve:
    """A compiled pattern that is only tried on texts that hold ``needed``."""

    __slots__ = ("_compiled", "needed")

    def __init__(self, compiled: re.Pattern[str], needed: str) -> None:
        """``needed`` is a part of every text in which the pattern is found."""
        self._compiled = compiled
        self.needed = needed

    def search(
        self, string: str, pos: int = 0, endpos: int = sys.maxsize
    ) -> re.Match[str] | None:
        """Do as ``re.Pattern.search``."""
        if self.needed in string:
            return self._compiled.search(string, pos, endpos)
        return None

    def match(
        self, string: str, pos: int = 0, endpos: int = sys.maxsize
    ) -> re.Match[str] | None:
        """Do as ``re.Pattern.match``."""
        if self.needed in string:
            return self._compiled.match(string, pos, endpos)
        return None

    def fullmatch(
        self, string: str, pos: int = 0, endpos: int = sys.maxsize
    ) -> re.Match[str] | None:
        """Do as ``re.Pattern.fullmatch``."""
        if self.needed in string:
            return self._compiled.fullmatch(string, pos, endpos)
        return None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - of re.Pattern
        """Return what is no faster here."""
        return getattr(self._compiled, name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Be copied as the compiled pattern that this stands for."""
        return re.compile, (self._compiled.pattern,)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """Say re.Pattern to those who ask by isinstance()."""
        return re.Pattern
