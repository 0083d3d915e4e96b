"""What is read out of pgbench's words."""

from __future__ import annotations

import pytest

from bench.programs import LoadFailed, transactions_in

DONE = """\
number of transactions actually processed: 1000/1000
number of failed transactions: 0 (0.000%)
tps = 100.0 (without initial connection time)
"""


@pytest.mark.parametrize(
    "output",
    [
        DONE,
        DONE.replace("/1000", ""),  # of a run of fixed length
        DONE.replace("number of failed transactions: 0 (0.000%)\n", ""),  # before 15
    ],
)
def test_transactions(output: str) -> None:
    """The number that was done, in each form that pgbench has."""
    assert transactions_in(output) == 1000


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("", "did not say"),
        (DONE.replace("transactions: 0 ", "transactions: 7 "), "7 transactions failed"),
        (DONE.replace("1000/", "900/"), "900 of 1000"),
    ],
)
def test_failures_are_no_result(output: str, reason: str) -> None:
    """A run with failures measures nothing."""
    with pytest.raises(LoadFailed, match=reason):
        transactions_in(output)
