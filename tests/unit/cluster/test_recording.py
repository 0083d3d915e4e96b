"""Recorded inputs replay to the same decisions: the moves of a night, in sequence."""

from __future__ import annotations

import pytest

from pgswitch.cluster import recording
from pgswitch.cluster.cluster_state import Knowledge, MachineLimits
from pgswitch.cluster.machine import Machine
from pgswitch.cluster.nodes import NodeReport, ProbeFailure, named
from pgswitch.cluster.recording import BadRecord, RecordedInput, replay

NODES = named([("a", 1), ("b", 1), ("c", 1)])
STANDBY = NodeReport(in_recovery=True)


def writes(timeline: int) -> NodeReport:
    """Return the answer of a writer."""
    return NodeReport(in_recovery=False, timeline=timeline)


class Script:
    """Writes records, and plays them."""

    def __init__(self) -> None:
        """Begin with ``a``, that lists all three."""
        self.lines = [recording.begun("db", 0.0, Machine(NODES[:1]))]
        self.lines.append(recording.listed("db", 1.0, NODES[:1]))
        self.answers("a", writes(1))
        self.lines.append(recording.listed("db", 1.0, NODES))

    def answers(self, name: str, report: NodeReport) -> None:
        """Have a node answer."""
        self.lines.append(recording.answered("db", 2.0, name, report))

    def fails(self, name: str, failure: ProbeFailure = ProbeFailure.REFUSED) -> None:
        """Have a node fail."""
        self.lines.append(recording.failed("db", 2.0, name, failure, ""))

    def hints(self, name: str = "") -> None:
        """Take a hint."""
        self.lines.append(recording.suspected("db", 2.0, name))

    def last(self) -> RecordedInput:
        """Play all; return the last step."""
        return list(replay(self.lines))[-1]


def test_twenty_moves() -> None:
    """Round and round, each old writer coming back as a standby."""
    script = Script()
    names = "abc"
    for move in range(20):
        old, new = names[move % 3], names[(move + 1) % 3]
        script.hints()
        script.fails(old)
        assert script.last().state == "searching"
        script.answers(new, STANDBY)
        script.answers(new, writes(move + 2))
        assert (script.last().state, script.last().writer) == ("known", new)
        script.answers(old, STANDBY)


def test_flapping() -> None:
    """A writer that goes and comes is the writer whenever it is there."""
    script = Script()
    for _ in range(5):
        script.fails("a", ProbeFailure.SILENT)
        assert script.last().state == "searching"
        script.answers("a", writes(1))
        assert script.last().commands[0] == "serve from a: the writer is back"


def test_no_writer_for_a_while() -> None:
    """All are down, then up again."""
    script = Script()
    for _ in range(20):
        for name in "abc":
            script.fails(name)
    assert script.last().state == "searching"
    script.answers("b", STANDBY)
    script.answers("a", writes(1))
    assert script.last().writer == "a"


def test_two_writers() -> None:
    """The old one goes on: it is fenced, and never the writer again."""
    script = Script()
    script.answers("b", writes(2))
    assert script.last().commands == (
        "serve from b: it was promoted",
        "read the list of nodes from b",
        "fence a: another node was promoted",
    )
    script.fails("b")
    script.answers("a", writes(1))
    assert script.last().state == "searching"


def test_a_hung_node_wakes_up() -> None:
    """After another was promoted."""
    script = Script()
    script.fails("a", ProbeFailure.SILENT)
    script.answers("c", writes(2))
    script.answers("a", writes(1))
    assert script.last().commands == (
        "fence a: it takes writes, but is not the writer",
    )


def test_one_backend_and_a_reader() -> None:
    """Neither moves anything."""
    script = Script()
    script.hints()
    assert script.last().commands == ("ask a",)
    script.fails("a", ProbeFailure.LOST)
    script.answers("a", writes(1))
    script.fails("b")
    assert (script.last().state, script.last().writer) == ("known", "a")


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"cluster": "x", "at": 1, "input": "answered", "name": "a"}',
        '{"cluster": "db", "at": 1, "input": "other", "name": "a"}',
        '{"cluster": "db", "at": 1, "input": "failed", "name": "a", "failure": "X"}',
    ],
)
def test_bad_lines(line: str) -> None:
    """The line is named."""
    script = Script()
    script.lines += ["", line]
    with pytest.raises(BadRecord, match="line 6 is no recorded input"):
        script.last()


def test_what_settings_and_entries_lead_to() -> None:
    """A start that was over by a setting is so when it is decided once more."""
    machine = Machine(NODES[:1], limits=MachineLimits(start=1.0))
    lines = [recording.begun("db", 0.0, machine)]
    lines.append(recording.entry_changed("db", 0.5, NODES[:2]))
    lines.append(recording.answered("db", 1.0, "a", writes(1)))
    lines.append(recording.ticked("db", 2.1))
    assert [*replay(lines)][-1].writer == "a"
    lines.insert(1, recording.limited("db", 0.4, MachineLimits(start=5.0)))
    assert [*replay(lines)][-1].state == "starting"


def test_going_on_with_other_nodes_than_the_entrys() -> None:
    """They are in the record, too."""
    machine = Machine(NODES[:1], Knowledge("b", 4, nodes=tuple(NODES)))
    lines = [recording.begun("db", 0.0, machine)]
    lines.append(recording.answered("db", 1.0, "b", writes(4)))
    assert [*replay(lines)][-1].writer == "b"
