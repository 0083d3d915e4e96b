"""Cuts SQL into the words that count: no strings, no comments.

The rules are those of the manual's chapter "Lexical Structure", with
standard_conforming_strings on; a text that reads otherwise when it is off is not cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

END: Final = ";"
QUOTED: Final = '"'
"""Stands before a quoted name, which is no keyword whatever it says."""

# At each place the first alternative that fits is the one the server takes. All repeats
# are possessive: the text is a client's, and must not take long to be found unfit.
_TOKEN: Final = re.compile(
    r"""
      \s++ | --[^\n\r]*+
    | (?P<comment> /\* )
    | e'(?: [^'\\] | '' | \\. )*+'
    | '(?: [^'\\] | '' | \\(?!') )*+'
    | \$(?P<tag> (?: [^\W\d]\w*+ )? )\$ .*? \$(?P=tag)\$
    | "(?P<quoted> (?: [^"] | "" )++ )"
    | (?<=\d)e\d++
    | (?P<word> [^\W\d][\w$]*+ )
    | (?P<end> ; )
    | [^'"$;] | \$(?! [^\W\d]\w*+\$ | \$ )
    """,
    re.DOTALL | re.VERBOSE,
)
_COMMENT_ENDS: Final = re.compile(r"/\*|\*/")


class Undecided(Exception):
    """A text that cannot be cut for sure."""


def words_in(text: str) -> Iterator[str]:
    """Yield the words and quoted names of a text, and ``;`` between statements.

    ``text`` is in lower case.  Raises Undecided for an end that is missing, and for
    what depends on a setting.
    """
    position = 0
    size = len(text)
    while position < size:
        token = _TOKEN.match(text, position)
        if token is None:
            raise Undecided
        position = token.end()
        kind = token.lastgroup
        if kind == "word":
            yield token["word"]
        elif kind == "quoted":
            yield QUOTED + token["quoted"]
        elif kind == "end":
            yield END
        elif kind == "comment":
            position = _comment_end(text, position)


def _comment_end(text: str, position: int) -> int:
    """Return where a comment ends whose begin has been read; comments nest."""
    depth = 1
    for found in _COMMENT_ENDS.finditer(text, position):
        depth += 1 if found[0] == "/*" else -1
        if not depth:
            return found.end()
    raise Undecided
