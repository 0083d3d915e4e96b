"""The journal of clients, compared with the table."""

from __future__ import annotations

from collections import Counter

from soak.failover_clients import KEYS_EACH, KINDS, Journal


def test_all_as_recorded() -> None:
    """Rows whose outcome is unsure may be there or not."""
    journal = Journal()
    journal.record("acknowledged", [1, 2])
    journal.record("undone", [3])
    journal.record("unsure", [4, 5])
    journal.compare(Counter([1, 2, 5]))
    assert journal.wrong == []


def test_discrepancies() -> None:
    """Each kind is reported with the kinds of clients."""
    journal = Journal()
    key = KEYS_EACH * KINDS.index("copy")
    journal.record("acknowledged", [key, 2])
    journal.record("undone", [3])
    journal.compare(Counter([2, 2, 3]))
    lost, doubled, there = journal.wrong
    assert lost.startswith("1 rows acknowledged but lost: Counter({'copy': 1})")
    assert doubled.startswith("1 rows doubled")
    assert there.startswith("1 rows undone but present")
