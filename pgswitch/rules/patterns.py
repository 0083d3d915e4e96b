"""The module ``re`` as a file of rules sees it: no search where none can succeed.

Theory of operation.  People write ``.*tablea.*`` for "tablea is somewhere in it", as
the examples of pgbouncer-fast-switchover do.  Python tries that at each character, and
each time runs to the end of the line: 6 microseconds for a short query, hours for one
of 16 MB, and everybody waits.  But a text without ``tablea`` cannot match, and to find
that out takes a tenth of a microsecond.  So a pattern which begins with something
open and holds plain text is compiled to a :class:`Sieve`, which looks for the text
first.  Patterns are also found again faster than by ``re``, for each query
compiles them anew in those examples.  What comes out is the same as with ``re``.

Where nothing is gained or the pattern is not simple (groups, alternatives, flags),
the functions are those of ``re``.
"""

from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import Any, Final

MOST_KNOWN: Final = 500
"""Compiled patterns that are remembered, as many as ``re`` does."""

_ITEM: Final = re.compile(
    r"(?:(?P<plain>[^\\.^$*+?{}()\[\]|])|\\(?P<escaped>[^0-9A-Za-z])"
    r"|\\[bBdDsSwW]|[.^$])"
    r"(?P<repeat>[*+?]|\{[0-9,]*\})?",
    re.DOTALL,
)
"""One item of a simple pattern, and how often it may come."""


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


class Patterns:
    """The patterns of one folder of rules."""

    def __init__(self) -> None:
        """Begin with none known."""
        self._known: dict[Any, Any] = {}

    def module(self) -> ModuleType:
        """Return the module ``re`` with these patterns."""
        module = ModuleType("re", re.__doc__)
        vars(module).update(vars(re))
        for function in (self.compile, self.search, self.match, self.fullmatch):
            setattr(module, function.__name__, function)
        return module

    def compile(self, pattern: Any, flags: int = 0) -> Any:  # noqa: ANN401 - as re
        """Do as ``re.compile``."""
        if flags:
            return re.compile(pattern, flags)
        return self._known.get(pattern) or self._made(pattern)

    def search(self, pattern: Any, string: Any, flags: int = 0) -> Any:  # noqa: ANN401 - as re
        """Do as ``re.search``."""
        if flags:
            return re.search(pattern, string, flags)
        return (self._known.get(pattern) or self._made(pattern)).search(string)

    def match(self, pattern: Any, string: Any, flags: int = 0) -> Any:  # noqa: ANN401 - as re
        """Do as ``re.match``."""
        if flags:
            return re.match(pattern, string, flags)
        return (self._known.get(pattern) or self._made(pattern)).match(string)

    def fullmatch(self, pattern: Any, string: Any, flags: int = 0) -> Any:  # noqa: ANN401 - as re
        """Do as ``re.fullmatch``."""
        if flags:
            return re.fullmatch(pattern, string, flags)
        return (self._known.get(pattern) or self._made(pattern)).fullmatch(string)

    def _made(self, pattern: Any) -> Any:  # noqa: ANN401 - as re
        """Compile a pattern that is not known yet; raises re.error."""
        if type(pattern) is not str:
            return re.compile(pattern)
        made: Any = re.compile(pattern)
        needed = needed_text(pattern)
        if needed and not pattern.startswith(needed):
            made = Sieve(made, needed)
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[pattern] = made
        return made


def needed_text(pattern: str) -> str:
    """Return the longest text that all matches have in them; empty if not known.

    ``pattern`` is one without flags that compiles.
    """
    longest = run = ""
    position = 0
    while position < len(pattern):
        item = _ITEM.match(pattern, position)
        if item is None:
            return ""
        position = item.end()
        plain = item["plain"] or item["escaped"]
        if plain and not item["repeat"]:
            run += plain
            longest = max(longest, run, key=len)
        else:
            run = ""
    return longest
