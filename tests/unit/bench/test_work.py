"""What is read out of pgbench's words."""

from __future__ import annotations

import pytest

from bench.work import NotSupported, transactions_of

OUTPUT = """\
number of transactions actually processed: 1000/1000
number of failed transactions: 0 (0.000%)
tps = 100.0 (without initial connection time)
"""


def test_transactions() -> None:
    """Those done, not those asked for."""
    assert transactions_of(OUTPUT) == 1000


@pytest.mark.parametrize(
    "output", ["", OUTPUT.replace("transactions: 0 ", "transactions: 7 ")]
)
def test_failures_are_no_result(output: str) -> None:
    """A run with failed transactions measures nothing."""
    with pytest.raises(NotSupported):
        transactions_of(output)
