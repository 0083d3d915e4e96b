"""What may differ, and that nothing else may."""

from __future__ import annotations

import pytest

from tests.fuzz.protocol.differences import (
    DIFFERENCES,
    FAILED,
    NO_UNNAMED,
    Segment,
    accepting,
    described,
)

NO_NAMED = 'E ERROR 26000 prepared statement "s1" does not exist'
TAKEN = 'E ERROR 42P05 prepared statement "s1" already exists'
ROW = ["2", "D ['a']", "C SELECT 1", "Z I"]
TOO_FEW = "E ERROR 08P01 bind message supplies 0 parameters, but prepared statement {}"


def segment(
    direct: list[str],
    pooled: list[str],
    *,
    shares: bool = True,
    prepared: int = 100,
    last: bool = False,
    parses: bool = False,
) -> Segment:
    """Return one under transaction pooling."""
    return Segment(direct, pooled, shares, prepared, last, parses)


@pytest.mark.parametrize(
    "one",
    [
        segment(ROW, [NO_UNNAMED, "Z I"]),
        segment(ROW, [NO_NAMED, "Z I"], prepared=0),
        segment([TAKEN, "Z I"], ["1", *ROW], prepared=0),
        segment(
            [TOO_FEW.format('"s1"'), "Z I"], [TOO_FEW.format('"PGBOUNCER_7"'), "Z I"]
        ),
        segment(["1", *ROW], ["1"], last=True),
        segment(["1", *ROW], ["1", NO_UNNAMED, "Z I"]),
        segment(["t b'0'", "n", "Z E"], [FAILED, "Z E"]),
        segment([TOO_FEW.format('"s1"'), "Z E"], [FAILED, "Z E"]),
    ],
)
def test_accepted(one: Segment) -> None:
    """Each rule has a case."""
    assert accepting(one) is not None


@pytest.mark.parametrize(
    "one",
    [
        segment(ROW, ["2", "D ['b']", "C SELECT 1", "Z I"]),
        segment(ROW, ROW[:-1]),
        segment(ROW, [NO_UNNAMED, "Z I"], shares=False),
        segment(["1", *ROW], ["1", NO_UNNAMED, "Z I"], parses=True),
        segment([*ROW[:-1], "Z T"], [NO_UNNAMED, "Z I"]),
        segment(ROW, [NO_NAMED, "Z I"]),
        segment(ROW, [NO_NAMED, "Z I"], prepared=0, shares=False),
        segment([TAKEN, "Z I"], ["1", *ROW]),
        segment([TOO_FEW.format('"s1"'), "Z I"], [TOO_FEW.format('"s2"'), "Z I"]),
        segment(["1", *ROW], ["1"]),
        segment(["t b'0'", "n", "Z T"], [FAILED, "Z E"]),
        segment(["2", "Z E"], [FAILED, "Z E"]),
        segment(["1", *ROW], ["2"], last=True),
    ],
)
def test_not_accepted(one: Segment) -> None:
    """Nor does a rule reach further than its reason."""
    assert accepting(one) is None


def test_all_are_described() -> None:
    """Each with its reason."""
    assert len(described()) == len(DIFFERENCES)
    assert len({one.name for one in DIFFERENCES}) == len(DIFFERENCES)
