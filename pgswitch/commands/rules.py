"""The command ``pgswitch rules``: what rules make of queries, with no server.

Exit status 0, or 1 when the file cannot be used or a function failed.
"""

from __future__ import annotations

import argparse
import sys

from pgswitch.rules.loader import RulesError
from pgswitch.testing import SOMEBODY, Outcome, Rules

NAME = "rules"


def main(arguments: list[str], program: str) -> int:
    """Print what a file's functions make of each query; return the exit status.

    :param arguments: what follows the word ``rules`` on the command line.
    :param program: the name shown in the usage.
    """
    parser = argparse.ArgumentParser(
        prog=f"{program} {NAME}",
        description="Show what routing_rules() and rewrite_query() make of queries.",
    )
    parser.add_argument("file", help="a Python file with one of the two or both")
    parser.add_argument("query", nargs="+", help="an SQL text")
    parser.add_argument("--user", default="postgres", help="who asks (postgres)")
    parser.add_argument(
        "--database", default=SOMEBODY.database, help="logged in to (postgres)"
    )
    parser.add_argument(
        "--in-transaction", action="store_true", help="as if inside a transaction"
    )
    given = parser.parse_args(arguments)
    try:
        rules = Rules(given.file)
    except RulesError as error:
        sys.stderr.write(f"{program}: {error}\n")
        return 1
    status = 0
    context = SOMEBODY._replace(database=given.database)
    for query in given.query:
        outcome = rules.ask(
            query,
            user=given.user,
            in_transaction=given.in_transaction,
            context=context,
        )
        sys.stdout.write(_report(query, outcome))
        status = 1 if outcome.failures else status
    return status


def _report(query: str, outcome: Outcome) -> str:
    sent = "unchanged" if outcome.query == query else outcome.query
    lines = [
        f"query:    {query}",
        f"sent:     {sent}",
        f"database: {outcome.database or 'stays'}",
        *(f"error:    {failure}" for failure in outcome.failures),
        f"took:     {outcome.microseconds} us",
        "",
    ]
    return "\n".join(lines) + "\n"
