"""Rules as their authors test them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from pgswitch.rules.loader import RulesError
from pgswitch.rules.rule_function import Context
from pgswitch.testing import Rules, ask
from tests.unit.rules.files import write

EXAMPLES = Path(__file__).parents[2] / "examples" / "rules"


@pytest.mark.parametrize(
    ("file", "query", "user", "expected"),
    [
        ("routing_rules.py", "SELECT * FROM tablea", "joe", "dev.1"),
        ("routing_rules.py", "SELECT * FROM tableb", "joe", "dev.2"),
        ("routing_rules.py", "SELECT 1", "joe", None),
        ("routing_table.py", "SELECT * FROM tablea", "joe", "dev.1"),
        ("routing_table.py", "SELECT * FROM tableb", "scram", "dev.2"),
        ("routing_table.py", "SELECT * FROM tableb", "joe", None),
        ("routing_table.py", "SELECT * FROM tableabc", "joe", None),
        ("balance.py", "UPDATE x SET y = 1", "joe", "dev.1"),
        ("balance.py", "SELECT 1 FOR UPDATE", "joe", "dev.1"),
    ],
)
def test_routing_examples(
    file: str, query: str, user: str, expected: str | None
) -> None:
    """What we ship does what it says."""
    outcome = ask(str(EXAMPLES / file), query, user=user)
    assert (outcome.database, outcome.failures) == (expected, ())


@pytest.mark.parametrize(
    ("file", "query", "words"),
    [
        (
            "rewrite_query.py",
            (
                "SELECT prodname, SUM(total) FROM sales JOIN product USING (productid)"
                " GROUP BY prodname ORDER BY prodname"
            ),
            "FROM product_sales",
        ),
        ("rewrite_query.py", "SELECT 1", "SELECT 1"),
        ("scan_limiter.py", "SELECT * FROM v_all_sales", "WARNING: scans"),
        (
            "scan_limiter.py",
            "SELECT * FROM v_all_sales WHERE day > now() - interval '7 days'",
            "v_all_sales WHERE",
        ),
    ],
)
def test_rewriting_examples(file: str, query: str, words: str) -> None:
    """What we ship does what it says."""
    assert words in ask(str(EXAMPLES / file), query).query


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("ann", "FROM orders_emea o JOIN orders_emea p"),
        ("bob", "FROM orders_apac o"),
        ("eve", "WARNING: no region"),
    ],
)
def test_a_row_filter(user: str, words: str) -> None:
    """Each user reads the view of a region, or nothing."""
    text = "SELECT * FROM orders o JOIN Orders p USING (id)"
    rules = Rules(str(EXAMPLES / "row_filter.py"))
    assert words in rules.ask(text, user=user).query
    assert rules.ask("SELECT * FROM reorders", user=user).query.endswith("reorders")


def test_metrics() -> None:
    """Each query is one datagram; nothing else comes of it."""
    rules = Rules(str(EXAMPLES / "metrics.py"))
    made = vars(rules._rules.rules[0].module.module)
    made["_SOCKET"].close()
    assert rules.ask("SELECT 1").failures == (), "one that cannot be sent is lost"
    sent: list[tuple[bytes, object]] = []
    made["_SOCKET"] = SimpleNamespace(sendto=lambda *given: sent.append(given))
    outcome = rules.ask(" Select 1", user="ann")
    assert (outcome.database, outcome.failures) == (None, ())
    assert sent == [(b"pgswitch.ann.select:1|c", ("127.0.0.1", 8125))]


def test_shares() -> None:
    """Of reads outside transactions about a tenth goes to the new cluster."""
    rules = Rules(str(EXAMPLES / "balance.py"))
    went = [rules.ask("SELECT 1").database for _ in range(1000)]
    assert 40 < went.count("dev.2") < 180
    assert rules.ask("SELECT 1", in_transaction=True).database is None


def test_failures_and_times(tmp_path: Path) -> None:
    """They are part of the outcome."""
    path = write(tmp_path, "r.py", "def rewrite_query(u, q): return 1 / 0")
    outcome = ask(path, "SELECT 1")
    assert outcome.query == "SELECT 1"
    assert "ZeroDivisionError" in outcome.failures[0]
    assert outcome.microseconds >= 0


@pytest.mark.parametrize(
    ("body", "sent", "failure"),
    [
        ("async def rewrite_query(u, q): return 'x'", "x", ""),
        ("async def rewrite_query(u, q): raise ValueError('odd')", "1", "odd"),
        (
            (
                "from twisted.internet.defer import succeed\n"
                "def rewrite_query(u, q): return succeed('y')"
            ),
            "y",
            "",
        ),
        (
            (
                "from twisted.internet.defer import Deferred\n"
                "async def rewrite_query(u, q): return await Deferred()"
            ),
            "1",
            "needs a reactor",
        ),
    ],
)
def test_asynchronous_functions(
    tmp_path: Path, body: str, sent: str, failure: str
) -> None:
    """As far as they need no reactor."""
    outcome = ask(write(tmp_path, "r.py", body), "1")
    assert outcome.query == sent
    assert failure in "".join(outcome.failures)


def test_the_context(tmp_path: Path) -> None:
    """The caller may give one."""
    path = write(
        tmp_path, "r.py", "def routing_rules(u, q, t, context): return context.database"
    )
    assert ask(path, "1").database == "postgres"
    context = Context("shop", "192.0.2.1:1", "", "", "simple")
    assert ask(path, "1", context=context).database == "shop"


def test_files_that_are_no_rules(tmp_path: Path) -> None:
    """What the pooler would refuse is refused here, too."""
    with pytest.raises(RulesError, match="has neither"):
        ask(write(tmp_path, "r.py", "x = 1"), "SELECT 1")
    with pytest.raises(RulesError, match="cannot be called"):
        ask(write(tmp_path, "r.py", "def routing_rules(): pass"), "SELECT 1")
