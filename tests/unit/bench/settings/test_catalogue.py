"""Every setting is tried, or left out for a reason."""

from __future__ import annotations

from math import inf

import pytest

from bench.settings.catalogue import (
    ALLOWANCES,
    CPU,
    KINDS,
    LEFT_OUT,
    PAIRS,
    TIME,
    UNFIT,
    VALUES,
    Allowance,
    Unfit,
    allowed,
    kinds_for,
)
from pgswitch.config.settings import SETTINGS

OTHERWISE = {"pool_mode", "client_tls_sslmode", "server_tls_sslmode"}
"""What environment.py sets for all."""


def test_each_setting_is_in_one_table() -> None:
    """A new setting has to be put into one of them."""
    assert set(VALUES) | set(LEFT_OUT) == set(SETTINGS)
    assert not set(VALUES) & set(LEFT_OUT)
    assert all(LEFT_OUT.values())


@pytest.mark.parametrize("name", VALUES)
def test_values_are_accepted(name: str) -> None:
    """A value that the file may not have would be no test."""
    for value in VALUES[name]:
        SETTINGS[name].kind.parse(value)
    assert len(set(VALUES[name])) == len(VALUES[name])


@pytest.mark.parametrize("name", VALUES)
def test_the_least_and_the_most_are_tried(name: str) -> None:
    """Of whole numbers, unless a smaller number ends the work by its meaning."""
    setting = SETTINGS[name]
    if setting.kind.name == "time":
        assert VALUES[name][-1] == "1e12"
        assert float(VALUES[name][0]) <= 60
    if name not in OTHERWISE:
        assert setting.default not in VALUES[name]


@pytest.mark.parametrize("one", [*UNFIT, *ALLOWANCES])
def test_exceptions_name_what_is_tried(one: Unfit | Allowance) -> None:
    """An exception for what is not tried would hide nothing, and be wrong one day."""
    assert set(one.values) <= set(VALUES[one.setting])
    assert set(one.kinds) <= set(KINDS)
    assert one.reason


def test_kinds_that_are_refused() -> None:
    """All but those."""
    assert kinds_for({}) == KINDS
    assert "prepared" not in kinds_for({"max_prepared_statements": "0"})
    assert kinds_for({"max_prepared_statements": "1"}) == KINDS
    assert kinds_for({"disable_pqexec": "1"}) == ("extended", "prepared")


def test_what_is_allowed() -> None:
    """One value its own, several three times the largest, of the time alone."""
    one = {"server_lifetime": "0"}
    assert allowed({"tcp_keepalive": "0"}, "simple") == (TIME, CPU)
    assert allowed(one, "simple")[0] > TIME
    together = allowed({**one, "tcp_keepalive": "0"}, "simple")
    assert together == (PAIRS * allowed(one, "simple")[0], inf)
