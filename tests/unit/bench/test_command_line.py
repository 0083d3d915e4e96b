"""What may be said on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.__main__ import chosen, parse
from bench.environment import ClientPrograms
from bench.metrics import METRICS, WORKLOADS
from bench.workloads import (
    MEMORY,
    QUICK,
    TLS_MEMORY,
    scram_workloads,
    tls_workloads,
    workloads,
)
from pgswitch.demo.postgres import Installation

PROGRAMS = ClientPrograms(Installation(Path("/s"), "15.1", "system"))
ALL = [
    *workloads(PROGRAMS, QUICK, Path("/lines"), lambda: None),
    *scram_workloads(PROGRAMS, QUICK),
    MEMORY,
    *tls_workloads(PROGRAMS, QUICK),
    TLS_MEMORY,
]


def test_every_workload_has_a_word() -> None:
    """The words of the help are those of the workloads, and no two are equal."""
    assert [workload.word for workload in ALL] == list(WORKLOADS)
    assert len(set(WORKLOADS)) == len(WORKLOADS)
    assert all(set(workload.metrics) <= set(METRICS) for workload in ALL)


def test_all_loads_unless_chosen() -> None:
    """Without the option everything is done."""
    assert chosen(ALL, parse([]).only) == ALL
    few = chosen(ALL, parse(["--only", "scram, connect"]).only)
    assert [workload.word for workload in few] == ["connect", "scram"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--only", "connect,swim"], "no workload 'swim'; one of simple, extended"),
        (["--rounds", "0"], "--rounds: at least one"),
    ],
)
def test_wrong_values(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong values are reported before anything starts."""
    with pytest.raises(SystemExit):
        parse(arguments)
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], "make bench"),
        (["--quick", "--publish"], "make bench QUICK=1"),
        (["--only", "connect", "--rounds", "3"], None),
    ],
)
def test_how_a_reader_gets_the_same(arguments: list[str], command: str | None) -> None:
    """As a call of make; what only publishes is left out."""
    expected = command or "make bench ARGS='--only connect --rounds 3'"
    assert parse(arguments).command == expected
