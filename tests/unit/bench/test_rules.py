"""The rules of the workloads do what the original examples do."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import rules
from pgswitch.testing import ask


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("SELECT * FROM tablea", "dev.1"),
        ("SELECT * FROM tableb", "dev.2"),
        ("SELECT abalance FROM pgbench_accounts WHERE aid = 1;", None),
    ],
)
def test_routes(query: str, key: str | None) -> None:
    """By table; the queries of the workload are left alone."""
    outcome = ask(str(Path(rules.__file__)), query)
    assert (outcome.database, outcome.query, outcome.failures) == (key, query, ())


@pytest.mark.parametrize(("name", "by"), [("store", "storeid"), ("prod", "productid")])
def test_reports(name: str, by: str) -> None:
    """From the smaller tables."""
    table = {"prod": "product"}.get(name, name)
    query = (
        f"SELECT {name}name, SUM(total) FROM sales JOIN {table} USING ({by})"
        f" GROUP BY {name}name ORDER BY {name}name"
    )
    found = ask(str(Path(rules.__file__)), query).query
    assert (
        found
        == f"SELECT {name}name, SUM(total) FROM {table}_sales GROUP BY 1 ORDER BY 1"
    )
