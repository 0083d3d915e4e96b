"""What may be said on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.encrypted import MEMORY_LOAD, encrypted_loads
from bench.loads import QUICK, loads
from bench.options import chosen, parse
from bench.programs import Programs
from bench.race import MEMORY
from bench.rows import LOADS, ROWS
from bench.scram import scram_loads
from pgswitch.demo.installations import Installation

PROGRAMS = Programs(Installation(Path("/s"), "15.1", "system"))
ALL = [
    *loads(PROGRAMS, QUICK, Path("/lines"), lambda: None),
    *scram_loads(PROGRAMS, QUICK),
    MEMORY,
    *encrypted_loads(PROGRAMS, QUICK),
    MEMORY_LOAD,
]


def test_every_load_has_a_word() -> None:
    """The words of the help are those of the loads, and no two are the same."""
    assert [load.word for load in ALL] == list(LOADS)
    assert len(set(LOADS)) == len(LOADS)
    assert all(set(load.rows) <= set(ROWS) for load in ALL)


def test_all_loads_unless_chosen() -> None:
    """Without the option everything is done."""
    assert chosen(ALL, parse([]).only) == ALL
    few = chosen(ALL, parse(["--only", "scram, connect"]).only)
    assert [load.word for load in few] == ["connect", "scram"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--only", "connect,swim"], "no load 'swim', there are simple, extended"),
        (["--rounds", "0"], "--rounds: at least one"),
    ],
)
def test_wrong_values(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are told before anything starts."""
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
