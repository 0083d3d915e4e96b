"""Draws the program's state tables: ``python -m pgswitch.state_diagrams FILE``.

The result is ``docs/reference/states.md``.  Each table becomes a Mermaid diagram, which
GitHub and most editors render, and lists of its states and transitions.  The meaning of
a state or event is the docstring of the enum's member, or its value if that is a text.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from enum import Enum
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pgswitch
from pgswitch.cluster.cluster_state import CLUSTER_STATES
from pgswitch.cluster.machine import Machine
from pgswitch.state_table import StateTable

TABLES = (
    ("pgswitch.net.connection_states", "CLIENT_STATES"),
    ("pgswitch.wire.client_auth", "CLIENT_AUTH_STATES"),
    ("pgswitch.net.connection_states", "SERVER_STATES"),
    ("pgswitch.wire.server_auth", "SERVER_AUTH_STATES"),
    ("pgswitch.cluster.cluster_state", "CLUSTER_STATES"),
)
"""Module and name of each table; one that does not exist is left out."""

HEADER = """\
# States

The state machines of pgswitch, drawn from their tables by
`python -m pgswitch.reference`.
"""

_Table = StateTable[Any, Any]
_Actions = Mapping[tuple[Any, Any], Any]
_ACTIONS: dict[int, _Actions] = {id(CLUSTER_STATES): Machine.ACTIONS}
"""Of a table with inputs: what each input does in each state."""


def tables() -> Iterator[tuple[str, _Table]]:
    """Yield the module and the table of every state machine."""
    for module, name in TABLES:
        if find_spec(module) is not None:
            table = getattr(import_module(module), name, None)
            if table is not None:
                yield module, table


def document() -> str:
    """Return the text of docs/reference/states.md."""
    parts = [HEADER]
    for module, table in tables():
        path = module.replace(".", "/") + ".py"
        parts.append(f"\n## {table.name[0].upper()}{table.name[1:]}\n\n")
        parts.append(f"`{path}`\n\n```mermaid\n{diagram(table)}```\n")
        parts.append(_every_state(table))
        parts.append(_states(table))
        parts.append(_transitions(table))
        parts.append(_inputs(_ACTIONS.get(id(table), {})))
    return "".join(parts)


def diagram(table: _Table) -> str:
    """Return a table as a Mermaid diagram.

    Transitions between the same two states share an arrow.  Events that lead from every
    state to the same one are left out.  Where facts choose between several next states,
    a node without a name stands for the choice.
    """
    common = _common(table)
    uses = Counter(after for _, _, after in table if len(after) > 1)
    shared = [after for after, count in uses.items() if count > 1]
    choices = {after: f"choice_{n}" for n, after in enumerate(shared, 1)}
    arrows: dict[tuple[str, str], list[str]] = {}
    for state, event, after in table:
        targets = [choices[after]] if after in choices else map(_name, after)
        for one in targets:
            if (event, after) not in common:
                arrows.setdefault((_name(state), one), []).append(_label(event))
    lines = ["stateDiagram-v2", f"    [*] --> {_name(table.initial)}"]
    lines += [f"    state {choice} <<choice>>" for choice in choices.values()]
    lines += [
        f"    {state} --> {target}: {'<br/>'.join(events)}"
        for (state, target), events in arrows.items()
    ]
    for after, choice in choices.items():
        lines += [f"    {choice} --> {_name(one)}" for one in after]
    lines += [f"    {_name(one)} --> [*]" for one in _last(table)]
    return "".join(f"{line}\n" for line in lines)


def _common(table: _Table) -> list[tuple[Hashable, tuple[Hashable, ...]]]:
    """Return events that lead from every state with a row to the same other one."""
    states = {state for state, _, _ in table}
    ways = Counter(
        (event, after)
        for state, event, after in table
        if len(after) == 1 and state not in after
    )
    return [way for way, count in ways.items() if count == len(states)]


def _last(table: _Table) -> list[Hashable]:
    """Return the states without a row."""
    return [one for one in _in_order(table) if one not in {row[0] for row in table}]


def _in_order(table: _Table) -> list[Hashable]:
    """Return all states of a table, in the order of their enum if they have one."""
    found = {table.initial: None}
    for state, _, after in table:
        found[state] = None
        found.update(dict.fromkeys(after))
    if isinstance(table.initial, Enum):
        return [one for one in type(table.initial) if one in found]
    return [*found]


def _every_state(table: _Table) -> str:
    common = _common(table)
    if not common:
        return ""
    ways = ", ".join(
        f"{_label(event)} leads to {_name(after)}" for event, (after,) in common
    )
    return f"\nIn every state: {ways}.\n"


def _states(table: _Table) -> str:
    rows = [f"| {_name(one)} | {_meaning(one)} |\n" for one in _in_order(table)]
    return "".join(["\n| state | meaning |\n|---|---|\n", *rows])


def _transitions(table: _Table) -> str:
    rows = [
        f"| {_name(state)} | {_label(event)} | {', '.join(map(_name, after))}"
        f" | {_meaning(event)} |\n"
        for state, event, after in table
    ]
    head = "\n| state | event | next state | meaning |\n|---|---|---|---|\n"
    return "".join([head, *rows])


def _inputs(actions: _Actions) -> str:
    """Return what each input does: one row for the states in which it does the same."""
    if not actions:
        return ""
    groups: dict[tuple[Any, Any], list[str]] = {}
    for (state, kind), action in actions.items():
        groups.setdefault((kind, action), []).append(_name(state))
    order = list(dict.fromkeys(kind for kind, _ in groups))
    rows = []
    for one in order:
        text = _meaning(one)
        for (kind, action), states in groups.items():
            if kind is one:
                rows.append(
                    f"| {text} | {', '.join(states)} | {_first_line(action)} |\n"
                )
                text = ""
    return "".join(["\n| input | in | what it does |\n|---|---|---|\n", *rows])


def _first_line(action: object) -> str:
    return (action.__doc__ or "").strip().splitlines()[0].rstrip(".")


def _name(member: object) -> str:
    return member.name if isinstance(member, Enum) else str(member)


def _label(event: object) -> str:
    return _name(event).lower().replace("_", " ")


def _meaning(member: object) -> str:
    """Return what a state or event means; empty if it does not say."""
    if not isinstance(member, Enum):
        return ""
    text = _docstrings(type(member)).get(member.name, "")
    if not text and isinstance(member.value, str) and member.value != _label(member):
        text = member.value
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


@cache
def _docstrings(enum: type[Enum]) -> dict[str, str]:
    """Return the docstrings of an enum's members, from its source."""
    folder = Path(pgswitch.__file__).parent.parent
    path = folder.joinpath(*enum.__module__.split(".")).with_suffix(".py")
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef) and node.name == enum.__name__:
            for one, following in zip(node.body, node.body[1:], strict=False):
                match one, following:
                    case (
                        ast.Assign(targets=[ast.Name(id=name)]),
                        ast.Expr(value=ast.Constant(value=str(text))),
                    ):
                        found[name] = text
    return found
