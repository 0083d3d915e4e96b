"""The drawings of the state machines are those of their tables."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

import pytest

import pgswitch
from pgswitch import state_diagrams
from pgswitch.state_table import StateTable

ROOT = Path(__file__).parents[2]


class Lamp(Enum):
    """States."""

    OFF = 1
    """It is dark."""
    ON = 2
    BROKEN = 3


class Hand(Enum):
    """Events."""

    PRESS = "the button is pressed"
    DROP = "drop"
    WAIT = "wait"


LAMP: StateTable[Lamp, Hand] = StateTable(
    "lamp",
    Lamp.OFF,
    {
        Lamp.OFF: {
            Hand.PRESS: (Lamp.ON, Lamp.BROKEN),
            Hand.DROP: Lamp.BROKEN,
            Hand.WAIT: Lamp.OFF,
        },
        Lamp.ON: {Hand.PRESS: Lamp.OFF, Hand.WAIT: Lamp.OFF, Hand.DROP: Lamp.BROKEN},
    },
)
CHOICE: StateTable[str, str] = StateTable(
    "choice", "a", {"a": {"go": ("b", "c")}, "b": {"go": ("b", "c")}}
)


def test_the_document_is_current() -> None:
    """After a change: make reference."""
    written = (ROOT / "docs/reference/states.md").read_text()
    assert written == state_diagrams.document()


def test_every_table_is_drawn() -> None:
    """The list of tables names all that there are."""
    found = {
        (".".join(path.relative_to(ROOT).with_suffix("").parts), name)
        for path in (ROOT / "pgswitch").rglob("*.py")
        for name in re.findall(
            r"^(\w+): (?:Final\[)?StateTable\[", path.read_text(), re.MULTILINE
        )
    }
    assert found <= set(state_diagrams.TABLES)


def test_a_diagram() -> None:
    """Two events share an arrow; what happens in every state is no arrow."""
    assert state_diagrams.diagram(LAMP).splitlines() == [
        "stateDiagram-v2",
        "    [*] --> OFF",
        "    OFF --> ON: press",
        "    OFF --> BROKEN: press",
        "    OFF --> OFF: wait",
        "    ON --> OFF: press<br/>wait",
        "    BROKEN --> [*]",
    ]


def test_a_choice() -> None:
    """States that share a choice share a node for it."""
    assert state_diagrams.diagram(CHOICE).splitlines()[2:] == [
        "    state choice_1 <<choice>>",
        "    a --> choice_1: go",
        "    b --> choice_1: go",
        "    choice_1 --> b",
        "    choice_1 --> c",
        "    c --> [*]",
    ]


def test_meanings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A docstring, else the text that is the value, unless it repeats the name."""
    monkeypatch.setattr(state_diagrams, "tables", lambda: [("tests.lamp", LAMP)])
    monkeypatch.setattr(pgswitch, "__file__", str(ROOT / "x" / "y"))
    lines = state_diagrams.document().splitlines()
    assert "| OFF | It is dark. |" in lines
    assert "| ON |  |" in lines
    assert "| OFF | press | ON, BROKEN | the button is pressed |" in lines
    assert "| OFF | drop | BROKEN |  |" in lines
    assert "In every state: drop leads to BROKEN." in lines


def test_what_inputs_do() -> None:
    """States in which an input does the same share a row."""
    text = state_diagrams.document()
    assert "|  | FORGETTING | Forget the last writer if that is due" in text
