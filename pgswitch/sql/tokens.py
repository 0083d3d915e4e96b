"""Splits SQL into words, without strings and comments.

The rules are those of the manual's chapter "Lexical Structure", with
standard_conforming_strings on; a text that means something else with it off is
rejected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

END: Final = ";"
QUOTED: Final = '"'
"""Prefix of a quoted name, which is never a keyword."""

# At each position the server takes the first alternative that matches. All repeats are
# possessive: a client chooses the text, and rejecting it must not take long.
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
    """A text that cannot be tokenized with certainty."""


def words_in(text: str) -> Iterator[str]:
    """Yield the words and quoted names of a text, and ``;`` between statements.

    ``text`` is in lower case.  Raises Undecided for an unterminated token, and for
    text whose meaning depends on a setting.
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
    """Return the end of a comment whose start has been read; comments nest."""
    depth = 1
    for found in _COMMENT_ENDS.finditer(text, position):
        depth += 1 if found[0] == "/*" else -1
        if not depth:
            return found.end()
    raise Undecided
