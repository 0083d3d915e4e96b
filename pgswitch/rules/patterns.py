"""The module ``re`` as a file of rules sees it: no search where none can succeed.

Theory of operation.  People write ``.*tablea.*`` for "tablea is somewhere in it", as
the examples of pgbouncer-fast-switchover do.  Python tries that at each character, and
each time runs to the end of the line: 6 microseconds for a short query, hours for one
of 16 MB, and everybody waits.  But a text without ``tablea`` cannot match, and to find
that out takes a tenth of a microsecond.  So a pattern which begins with something
open and holds plain text is compiled to a :class:`PrefilteredPattern`, which looks for
the text first.  They also write ``.*`` for "whatever the user's name is"; what that
found in a name is found in it the next time, too, and returned again.  And patterns are
found again faster than by ``re``, for each query compiles them anew in those examples.
What comes out is the same as with ``re``.

Where nothing is gained or the pattern is not simple (groups, alternatives, flags),
the functions are those of ``re``.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import Any, Final

from pgswitch.rules.prefiltered_pattern import PrefilteredPattern

END: Final = sys.maxsize
"""Where a search ends that is told no end."""
MAX_CACHED_PATTERNS: Final = 500
"""Compiled patterns that are remembered, about as many as ``re`` does."""

ANYTHING: Final = (".*", "^.*", ".*$", "^.*$", ".+")
"""Patterns whose last find is remembered."""
MAX_REMEMBERED_LENGTH: Final = 63
"""Characters of a text with that, as many as a name has."""

_ITEM: Final = re.compile(
    r"(?:(?P<plain>[^\\.^$*+?{}()\[\]|])|\\(?P<escaped>[^0-9A-Za-z])"
    r"|\\[bBdDsSwW]|[.^$])"
    r"(?P<repeat>[*+?]|\{[0-9,]*\})?",
    re.DOTALL,
)
"""One item of a simple pattern, and how often it may come."""


class CachedPattern:
    """A compiled pattern, and a text without which it need not be tried."""

    def __init__(self, compiled: Any, needed: str) -> None:  # noqa: ANN401 - of re
        """``needed`` is a part of every text in which the pattern is found."""
        self.compiled = compiled
        self.needed = needed
        self.given = compiled
        """What a file of rules gets for it."""
        if needed:
            self.given = PrefilteredPattern(
                compiled, self.search, self.match, self.fullmatch
            )
        elif compiled.pattern in ANYTHING:
            again = self.search_again
            self.given = PrefilteredPattern(
                compiled, again, compiled.match, compiled.fullmatch
            )
        self._searched = ""
        self._found: Any = None
        """What the search of that text found; nothing changes a Match."""

    def search(self, string: str, pos: int = 0, endpos: int = END) -> Any:  # noqa: ANN401 - as re
        """Do as ``re.Pattern.search``."""
        if self.needed not in string:
            return None
        return self.compiled.search(string, pos, endpos)

    def search_again(self, string: str, pos: int = 0, endpos: int = END) -> Any:  # noqa: ANN401 - as re
        """Do as ``re.Pattern.search``, faster for the same text as last time."""
        if pos or endpos != END:
            return self.compiled.search(string, pos, endpos)
        if self._found is not None and string == self._searched:
            return self._found
        found = self.compiled.search(string)
        if len(string) <= MAX_REMEMBERED_LENGTH:
            self._searched = string
            self._found = found
        return found

    def match(self, string: str, pos: int = 0, endpos: int = END) -> Any:  # noqa: ANN401 - as re
        """Do as ``re.Pattern.match``."""
        if self.needed not in string:
            return None
        return self.compiled.match(string, pos, endpos)

    def fullmatch(self, string: str, pos: int = 0, endpos: int = END) -> Any:  # noqa: ANN401 - as re
        """Do as ``re.Pattern.fullmatch``."""
        if self.needed not in string:
            return None
        return self.compiled.fullmatch(string, pos, endpos)


class Patterns:
    """The patterns of one folder of rules."""

    def __init__(self, most_known: int = MAX_CACHED_PATTERNS) -> None:
        """Begin with none known; of more than ``most_known`` all are forgotten."""
        self._known: dict[str, CachedPattern] = {}
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
        if flags or not isinstance(pattern, str):
            return re.compile(pattern, flags)
        return self._find(pattern).given

    def search(self, pattern: Any, string: Any, flags: int = 0) -> Any:  # noqa: ANN401 - as re
        """Do as ``re.search``."""
        if flags or not isinstance(pattern, str):
            return re.search(pattern, string, flags)
        known = self._find(pattern)
        if known.needed and known.needed not in string:
            return None
        return known.compiled.search(string)

    def match(self, pattern: Any, string: Any, flags: int = 0) -> Any:  # noqa: ANN401 - as re
        """Do as ``re.match``."""
        if flags or not isinstance(pattern, str):
            return re.match(pattern, string, flags)
        known = self._find(pattern)
        if known.needed and known.needed not in string:
            return None
        return known.compiled.match(string)

    def fullmatch(self, pattern: Any, string: Any, flags: int = 0) -> Any:  # noqa: ANN401 - as re
        """Do as ``re.fullmatch``."""
        if flags or not isinstance(pattern, str):
            return re.fullmatch(pattern, string, flags)
        known = self._find(pattern)
        if known.needed and known.needed not in string:
            return None
        return known.compiled.fullmatch(string)

    def _find(self, pattern: str) -> CachedPattern:
        """Return a pattern, compiled if it is not known yet; raises re.error."""
        known = self._known.get(pattern)
        if known is None:
            needed = needed_text(pattern)
            if pattern.startswith(needed):
                # Python looks for it first, too.
                needed = ""
            known = CachedPattern(re.compile(pattern), needed)
            if len(self._known) >= self._most_known:
                self._known.clear()
            self._known[pattern] = known
        return known


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
