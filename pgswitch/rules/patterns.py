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

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any, Final

from pgswitch.rules.sieve import Sieve

MOST_KNOWN: Final = 500
"""Compiled patterns that are remembered, about as many as ``re`` does."""

_ITEM: Final = re.compile(
    r"(?:(?P<plain>[^\\.^$*+?{}()\[\]|])|\\(?P<escaped>[^0-9A-Za-z])"
    r"|\\[bBdDsSwW]|[.^$])"
    r"(?P<repeat>[*+?]|\{[0-9,]*\})?",
    re.DOTALL,
)
"""One item of a simple pattern, and how often it may come."""


class Patterns:
    """The patterns of one folder of rules."""

    def __init__(self, most_known: int = MOST_KNOWN) -> None:
        """Begin with none known; of more than ``most_known`` all are forgotten."""
        self._known: dict[Any, Any] = {}
        self._most_known = most_known

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
        if len(self._known) >= self._most_known:
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
