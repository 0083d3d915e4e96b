"""A replacement for the module ``re`` in rules (the setting rules_fast_patterns).

Theory of operation.  The examples of pgbouncer-fast-switchover use ``.*tablea.*`` for
"contains tablea".  Python tries this pattern at each character, and each time scans to
the end of the line: 6 microseconds for a short query, hours for one of 16 MB, while all
clients wait.  But a text without ``tablea`` cannot match, and checking that takes a
tenth of a microsecond.  So a pattern that begins with a wildcard and contains literal
text becomes a :class:`PrefilteredPattern`, which looks for the text first.  The
examples also use ``.*`` for "any user name": its last match is cached.  And they
compile their patterns for each query: compiled patterns are cached too, with a faster
lookup than in ``re``.  Results are the same as with ``re``.

Patterns that gain nothing or are not simple (groups, alternatives, flags) are handled
by ``re``.

This file is in the typed subset that mypyc compiles, and also runs interpreted.
"""

from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import Any, Final

from pgswitch.rules.prefiltered_pattern import PrefilteredPattern

END: Final = sys.maxsize
"""The default ``endpos`` of a search."""
MAX_CACHED_PATTERNS: Final = 500
"""Maximum number of cached patterns, about the size of ``re``'s cache."""

ANYTHING: Final = (".*", "^.*", ".*$", "^.*$", ".+")
"""Patterns whose last match is cached."""
MAX_REMEMBERED_LENGTH: Final = 63
"""Maximum characters of a text with a cached match: the length of a name."""

_ITEM: Final = re.compile(
    r"(?:(?P<plain>[^\\.^$*+?{}()\[\]|])|\\(?P<escaped>[^0-9A-Za-z])"
    r"|\\[bBdDsSwW]|[.^$])"
    r"(?P<repeat>[*+?]|\{[0-9,]*\})?",
    re.DOTALL,
)
"""One item of a simple pattern, with its quantifier."""


class CachedPattern:
    """A compiled pattern, and a text that it needs to match."""

    def __init__(self, compiled: Any, needed: str) -> None:  # noqa: ANN401 - of re
        """``needed`` is contained in every text that matches."""
        self.compiled = compiled
        self.needed = needed
        self.given = compiled
        """The pattern that a file of rules gets."""
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
        """The match in that text; a Match is immutable."""

    def search(self, string: str, pos: int = 0, endpos: int = END) -> Any:  # noqa: ANN401 - as re
        """Do as ``re.Pattern.search``."""
        if self.needed not in string:
            return None
        return self.compiled.search(string, pos, endpos)

    def search_again(self, string: str, pos: int = 0, endpos: int = END) -> Any:  # noqa: ANN401 - as re
        """Do as ``re.Pattern.search``; faster for the same text as last time."""
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
    """The cached patterns of one folder of rules."""

    def __init__(self, max_known: int = MAX_CACHED_PATTERNS) -> None:
        """Start empty; at ``max_known`` patterns the cache is cleared."""
        self._known: dict[str, CachedPattern] = {}
        self._max_known = max_known

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
        """Return a cached pattern, compiled if necessary; raises re.error."""
        known = self._known.get(pattern)
        if known is None:
            needed = needed_text(pattern)
            if pattern.startswith(needed):
                # Python itself looks for a literal prefix first.
                needed = ""
            known = CachedPattern(re.compile(pattern), needed)
            if len(self._known) >= self._max_known:
                self._known.clear()
            self._known[pattern] = known
        return known


def needed_text(pattern: str) -> str:
    """Return the longest text contained in all matches; empty if not known.

    ``pattern`` must be valid and have no flags.
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
