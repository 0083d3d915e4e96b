"""The inputs of a cluster's machine as lines of JSON, and what they lead to once more.

What was decided in the night can so be looked at in the morning: the machine is pure,
so the same inputs give the same commands.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pgswitch.topology.machine import (
    Command,
    Failure,
    Fence,
    LoseWriter,
    Machine,
    ReadTopology,
    Report,
    SetWriter,
)
from pgswitch.topology.nodes import Node


class BadRecord(ValueError):
    """A line is no recorded input; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Step:
    """One recorded input, and what came of it."""

    at: float
    """Seconds since the epoch."""
    cluster: str
    words: str
    commands: tuple[str, ...]
    state: str
    writer: str


def begun(cluster: str, at: float, seeds: list[Node]) -> str:
    """Return the line of a machine that begins with these hosts."""
    return _line(cluster, at, "begin", nodes=[asdict(node) for node in seeds])


def listed(cluster: str, at: float, nodes: list[Node]) -> str:
    """Return the line of a new list of nodes."""
    return _line(cluster, at, "listed", nodes=[asdict(node) for node in nodes])


def suspected(cluster: str, at: float, name: str) -> str:
    """Return the line of a hint; an empty name is the writer's."""
    return _line(cluster, at, "suspected", name=name)


def answered(cluster: str, at: float, name: str, report: Report) -> str:
    """Return the line of an answer."""
    return _line(cluster, at, "answered", name=name, report=asdict(report))


def failed(cluster: str, at: float, name: str, failure: Failure, words: str) -> str:
    """Return the line of a question asked in vain."""
    return _line(cluster, at, "failed", name=name, failure=failure.name, words=words)


def _line(cluster: str, at: float, kind: str, **more: Any) -> str:  # noqa: ANN401 - JSON
    return json.dumps({"at": round(at, 6), "cluster": cluster, "input": kind, **more})


def replay(lines: Iterable[str]) -> Iterator[Step]:
    """Give recorded inputs to machines again; yields each with its outcome.

    Raises BadRecord.
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
        told = tuple(_told(one) for one in commands)
        yield Step(at, cluster, words, told, machine.state.value, machine.writer)


def _input(
    machines: dict[str, Machine], cluster: str, at: float, record: dict[str, Any]
) -> tuple[str, list[Command]]:
    """Do one input; return it in words, and the commands."""
    kind = record["input"]
    if kind == "begin":
        nodes = [Node(**node) for node in record["nodes"]]
        machines[cluster] = Machine(nodes)
        return f"begin with {_names(nodes)}", []
    machine = machines[cluster]
    if kind == "listed":
        nodes = [Node(**node) for node in record["nodes"]]
        return f"the nodes are {_names(nodes)}", machine.listed(nodes)
    name = record["name"]
    if kind == "suspected":
        return f"{name or 'the writer'} is suspected", machine.suspected(name)
    if kind == "answered":
        report = Report(**record["report"])
        role = (
            "standby" if report.in_recovery else f"writes, timeline {report.timeline}"
        )
        return f"{name} answers: {role}", machine.answered(name, report, at)
    if kind == "failed":
        failure, words = Failure[record["failure"]], record["words"]
        return (
            f"{name} fails: {words or failure.value}",
            machine.failed(name, failure, words),
        )
    raise ValueError(f"unknown input {kind!r}")


def _told(command: Command) -> str:
    """Return a command in words."""
    if isinstance(command, SetWriter):
        return f"serve from {command.name}: {command.cause}"
    if isinstance(command, LoseWriter):
        return f"hold clients, {command.name or 'the host'} is lost: {command.cause}"
    if isinstance(command, Fence):
        return f"fence {command.name}: {command.cause}"
    if isinstance(command, ReadTopology):
        return f"read the list of nodes from {command.name}"
    return f"ask {command.name}"


def _names(nodes: list[Node]) -> str:
    return ", ".join(node.name for node in nodes)
