"""Builds lexers and parsers with ply, which reads grammars from docstrings.

By default ply writes tables and warnings to files; here it writes nothing.
"""

from __future__ import annotations

from typing import Any

from ply import lex, yacc


def machines_of(grammar: object) -> tuple[Any, Any]:
    """Return the lexer and the parser of a grammar, which is a module or an object.

    This takes a few milliseconds.  Raises SyntaxError for an invalid grammar.
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
