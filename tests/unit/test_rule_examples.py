"""The files of rules that we ship do what they say, asked as their users may ask."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest

from pgswitch.rules.evaluate import Context
from pgswitch.testing import Outcome, Rules

FOLDER = Path(__file__).parents[2] / "examples" / "rules"
CLIENT = Context("shop", "192.0.2.1:1", "", "", "simple")


def rules(name: str) -> Rules:
    """Return an example."""
    return Rules(str(FOLDER / f"{name}.py"))


def close(loaded: Rules) -> None:
    """Close what a file has opened."""
    for value in vars(loaded.module).values():
        if isinstance(value, socket.socket):
            value.close()


def database(outcome: Outcome) -> str | None:
    """Return where a query goes, if nothing went wrong."""
    assert not outcome.failures
    return outcome.database


@pytest.mark.parametrize("path", [*FOLDER.glob("*.py")], ids=lambda path: path.stem)
def test_all_load(path: Path) -> None:
    """And answer a query, in a transaction and outside."""
    loaded = Rules(str(path))
    for inside in (False, True):
        outcome = loaded.ask("SELECT 1", in_transaction=inside, context=CLIENT)
        assert outcome.failures == ()
        assert outcome.query == "SELECT 1"
    close(loaded)


def test_the_splitter() -> None:
    """Reads to a reader, all else to the writer, transactions as they begin."""
    splitter = rules("read_write_splitter")

    def key(query: str, client: str = "192.0.2.1:1", *, inside: bool = False) -> object:
        context = Context("shop", client, "", "", "simple")
        return database(splitter.ask(query, in_transaction=inside, context=context))

    for query in ("SELECT 1", "BEGIN READ ONLY", "start transaction read only ;"):
        assert key(query) == "shop:reader"
    assert key("SELECT 1", inside=True) is None
    assert key("SET work_mem = '1GB'") is None
    for query in ("DELETE FROM t", "SELECT next_ticket()", "BEGIN", "COPY t TO STDOUT"):
        assert key(query, "192.0.2.1:2") == "shop:writer"
    for query in ("BEGIN READ ONLY; COMMIT; DELETE FROM t", "BEGIN /* read only */"):
        assert key(query, "192.0.2.1:3") == "shop:writer"
    assert key("SELECT 1", "192.0.2.1:2") == "shop:writer", "it has just written"
    assert key("SELECT 1", "192.0.2.1:4") == "shop:reader"


def test_the_balancer() -> None:
    """A tenth of the reads, and no write."""
    random.seed(1)
    balance = rules("balance")
    keys = [database(balance.ask("SELECT 1")) for _ in range(1000)]
    assert 70 < keys.count("dev.2") < 130
    assert keys.count("dev.1") == 1000 - keys.count("dev.2")
    assert {database(balance.ask("DELETE FROM t")) for _ in range(100)} == {"dev.1"}
    assert database(balance.ask("SELECT 1", in_transaction=True)) is None


def test_the_row_filter() -> None:
    """Each user has a view; a user without one gets a warning as the result."""
    row_filter = rules("row_filter")
    query = "SELECT * FROM Orders WHERE id = $1"
    assert row_filter.ask(query, user="ann").query == query.replace(
        "Orders", "orders_emea"
    )
    assert row_filter.ask(query, user="eve").query.startswith("SELECT 'WARNING")
    assert row_filter.ask("SELECT * FROM reorders").query == "SELECT * FROM reorders"


def test_the_scan_limiter() -> None:
    """Long scans become a warning."""
    limiter = rules("scan_limiter")
    query = "SELECT * FROM v_all_sales WHERE day > now() - interval '%d days'"
    assert limiter.ask(query % 30).query == query % 30
    assert limiter.ask(query % 31).query.startswith("SELECT 'WARNING")


def test_the_metrics() -> None:
    """One datagram a query."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.settimeout(5)
        metrics = rules("metrics")
        vars(metrics.module)["STATSD"] = statsd.getsockname()
        assert database(metrics.ask("insert into t values (1)", user="ann")) is None
        assert statsd.recv(100) == b"pgswitch.ann.insert:1|c"
    close(metrics)


def test_the_tables() -> None:
    """By expressions on user and query."""
    table = rules("routing_table")
    assert database(table.ask("SELECT * FROM tablea")) == "dev.1"
    assert database(table.ask("SELECT * FROM tableb")) is None
    assert database(table.ask("SELECT * FROM tableb", user="scram")) == "dev.2"
    assert database(rules("routing_rules").ask("SELECT * FROM tableb")) == "dev.2"
