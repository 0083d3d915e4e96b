"""Machines for small grammars, by ply, which takes them from docstrings.

It would write its tables and its complaints to files; here it writes nothing.
"""

from __future__ import annotations

from typing import Any

from ply import lex, yacc


def machines_of(grammar: object) -> tuple[Any, Any]:
    """Return the lexer and the parser of a grammar, a module or an object.

    It takes a few milliseconds.  Raises SyntaxError for what is no grammar.
    """
    return (
        lex.lex(module=grammar),
        yacc.yacc(
            module=grammar,
            write_tables=False,
            debug=False,
            errorlog=yacc.NullLogger(),
        ),
    )
