"""What a file of rules gets for a compiled pattern; see patterns.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any


class Sieve:
    """Stands for a ``re.Pattern``, of which three methods are others."""

    __slots__ = ("_compiled", "fullmatch", "match", "search")

    def __init__(
        self,
        compiled: re.Pattern[str],
        search: Callable[..., Any],
        match: Callable[..., Any],
        fullmatch: Callable[..., Any],
    ) -> None:
        """Take the pattern, and what is called in place of its methods."""
        self._compiled = compiled
        self.search = search
        self.match = match
        self.fullmatch = fullmatch

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - of re.Pattern
        """Return what is no other here."""
        return getattr(self._compiled, name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Be copied as the compiled pattern that this stands for."""
        return re.compile, (self._compiled.pattern,)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """Say re.Pattern to those who ask by isinstance()."""
        return re.Pattern
