"""Writes the inputs of a cluster's machine as lines of JSON, and replays them.

The machine is pure: the same inputs give the same commands, so a decision can be
examined later.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pgswitch.cluster.cluster_state import (
    Assume,
    Fence,
    Knowledge,
    LoseWriter,
    MachineCommand,
    MachineLimits,
    ReadTopology,
    SetWriter,
)
from pgswitch.cluster.machine import Machine
from pgswitch.cluster.nodes import Node, NodeReport, ProbeFailure


class BadRecord(ValueError):
    """A line that is not a recorded input; the text says which and why."""


@dataclass(frozen=True, slots=True)
class RecordedInput:
    """One recorded input, and its result."""

    at: float
    """Seconds since the epoch."""
    cluster: str
    words: str
    commands: tuple[str, ...]
    state: str
    writer: str


def begun(cluster: str, at: float, machine: Machine) -> str:
    """Return the line of a new machine: hosts, knowledge and settings."""
    before = asdict(machine.knowledge())
    before["fenced"] = sorted(before["fenced"])
    return _line(
        cluster,
        at,
        "begin",
        nodes=[asdict(node) for node in machine.seeds],
        before=before,
        limits=asdict(machine.limits),
    )


def entry_changed(cluster: str, at: float, nodes: list[Node]) -> str:
    """Return the line of a changed entry, with its hosts."""
    return _line(cluster, at, "entry", nodes=[asdict(node) for node in nodes])


def limited(cluster: str, at: float, limits: MachineLimits) -> str:
    """Return the line of changed settings."""
    return _line(cluster, at, "limits", limits=asdict(limits))


def writer_forgotten(cluster: str, at: float) -> str:
    """Return the line of an operator's RECONNECT."""
    return _line(cluster, at, "judge again")


def ticked(cluster: str, at: float) -> str:
    """Return the line of a tick that led to commands."""
    return _line(cluster, at, "time")


def list_failed(cluster: str, at: float, name: str) -> str:
    """Return the line of a node that could not give the list of nodes."""
    return _line(cluster, at, "no list", name=name)


def listed(cluster: str, at: float, nodes: list[Node]) -> str:
    """Return the line of a new list of nodes."""
    return _line(cluster, at, "listed", nodes=[asdict(node) for node in nodes])


def suspected(cluster: str, at: float, name: str) -> str:
    """Return the line of a hint; an empty name means the writer."""
    return _line(cluster, at, "suspected", name=name)


def answered(cluster: str, at: float, name: str, report: NodeReport) -> str:
    """Return the line of an answer."""
    return _line(cluster, at, "answered", name=name, report=asdict(report))


def failed(
    cluster: str, at: float, name: str, failure: ProbeFailure, words: str
) -> str:
    """Return the line of a failed probe."""
    return _line(cluster, at, "failed", name=name, failure=failure.name, words=words)


def _line(cluster: str, at: float, kind: str, **more: Any) -> str:  # noqa: ANN401 - JSON
    return json.dumps({"at": round(at, 6), "cluster": cluster, "input": kind, **more})


def replay(lines: Iterable[str]) -> Iterator[RecordedInput]:
    """Give recorded inputs to new machines; yield each input with its result.

    :raises BadRecord: a line is not a recorded input.
    """
    machines: dict[str, Machine] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            cluster, at = str(record["cluster"]), float(record["at"])
            words, commands = _input(machines, cluster, at, record)
        except (KeyError, TypeError, ValueError) as error:
            raise BadRecord(f"line {number} is no recorded input: {error!r}") from None
        machine = machines[cluster]
        commands_in_words = tuple(_in_words(one) for one in commands)
        yield RecordedInput(
            at,
            cluster,
            words,
            commands_in_words,
            machine.writer_state.value,
            machine.writer,
        )


def _input(  # noqa: C901, PLR0911 - one for each kind
    machines: dict[str, Machine], cluster: str, at: float, record: dict[str, Any]
) -> tuple[str, list[MachineCommand]]:
    """Give one input to its machine; return it in words, and the commands."""
    kind = record["input"]
    if kind == "begin":
        nodes = [Node(**node) for node in record["nodes"]]
        before = {**record.get("before", {})}
        before["fenced"] = frozenset(before.get("fenced", ()))
        before["nodes"] = tuple(Node(**node) for node in before.get("nodes", ()))
        limits = MachineLimits(**record.get("limits", {}))
        machines[cluster] = Machine(nodes, Knowledge(**before), limits=limits)
        return f"begin with {_names(nodes)}", []
    machine = machines[cluster]
    if kind == "entry":
        nodes = [Node(**node) for node in record["nodes"]]
        return f"the entry names {_names(nodes)}", machine.entry_changed(nodes, at)
    if kind == "limits":
        machine.limits = MachineLimits(**record["limits"])
        return f"settings: {machine.limits}", []
    if kind == "listed":
        nodes = [Node(**node) for node in record["nodes"]]
        return f"the nodes are {_names(nodes)}", machine.listed(nodes, at)
    if kind == "judge again":
        return "RECONNECT", machine.forget_writer(at)
    if kind == "time":
        return "time is up", machine.ticked(at)
    name = record["name"]
    if kind == "suspected":
        return f"{name or 'the writer'} is suspected", machine.suspected(name)
    if kind == "answered":
        report = NodeReport(**record["report"])
        role = (
            "standby" if report.in_recovery else f"writes, timeline {report.timeline}"
        )
        return f"{name} answers: {role}", machine.answered(name, report, at)
    if kind == "failed":
        failure, words = ProbeFailure[record["failure"]], record["words"]
        return (
            f"{name} fails: {words or failure.value}",
            machine.failed(name, failure, at, words),
        )
    if kind == "no list":
        return f"{name} has no list of nodes", machine.list_failed(name, at)
    raise ValueError(f"unknown input {kind!r}")


def _in_words(command: MachineCommand) -> str:
    """Return a command in words."""
    if isinstance(command, SetWriter):
        return f"serve from {command.name}: {command.cause}"
    if isinstance(command, Assume):
        return f"serve from the configured host: {command.cause}"
    if isinstance(command, LoseWriter):
        lost = f"{command.name} is lost" if command.name else "no writer"
        return f"hold clients, {lost}: {command.cause}"
    if isinstance(command, Fence):
        return f"fence {command.name}: {command.cause}"
    if isinstance(command, ReadTopology):
        return f"read the list of nodes from {command.name}"
    return f"ask {command.name}"


def _names(nodes: list[Node]) -> str:
    return ", ".join(node.name for node in nodes)
