"""The command ``pgswitch rules``: applies rules to queries, without a server.

Exit status 0, or 1 if the file cannot be used or a function failed.
"""

from __future__ import annotations

import argparse
import sys

from pgswitch.rules.loader import RulesError
from pgswitch.testing import SOMEBODY, Outcome, Rules

NAME = "rules"


def main(arguments: list[str], program: str) -> int:
    """Print the result of a file's functions for each query; return the exit status.

    :param arguments: the arguments after ``rules`` on the command line.
    :param program: the program's name in the usage.
    """
    parser = argparse.ArgumentParser(
        prog=f"{program} {NAME}",
        description="Show the results of routing_rules() and rewrite_query().",
    )
    parser.add_argument("file", help="a Python file with one or both functions")
    parser.add_argument("query", nargs="+", help="an SQL text")
    parser.add_argument(
        "--user", default="postgres", help="the client's user (postgres)"
    )
    parser.add_argument(
        "--database", default=SOMEBODY.database, help="the client's database (postgres)"
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
