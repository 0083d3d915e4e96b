"""The words that small values are shown by."""

from __future__ import annotations

import pytest

from pgswitch.types import Address, AuthType, PoolMode


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (PoolMode.SESSION, "session"),
        (PoolMode.TRANSACTION, "transaction"),
        (PoolMode.STATEMENT, "statement"),
        (AuthType.SCRAM_SHA_256, "scram-sha-256"),
        (Address("192.0.2.1", 5432), "192.0.2.1:5432"),
        (Address("2001:db8::1", 5432), "[2001:db8::1]:5432"),
        (Address("unix", 5432), "unix:5432"),
        (Address("unix", 5432, 77), "unix(77):5432"),
    ],
)
def test_words(value: object, text: str) -> None:
    """As the configuration, the console and the log have them."""
    assert str(value) == text


def test_shorter_modes_are_smaller() -> None:
    """The order tells how long a client keeps a server."""
    assert PoolMode.STATEMENT < PoolMode.TRANSACTION < PoolMode.SESSION
