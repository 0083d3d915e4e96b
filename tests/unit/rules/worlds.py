"""Worlds with rules in them, for tests."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.world import World, WorldOf
from tests.unit.rules.files import write

TWO = "db = host=10.0.0.1\nnew = host=10.0.0.2\nforced = host=10.0.0.3 user=other"
ROUTING = """
def routing_rules(username, query, in_transaction):
    return query.partition("--")[2].strip() or None
"""
"""Goes to where the comment says."""


def world_with(
    world_of: WorldOf,
    folder: Path,
    routing: str = "",
    rewriting: str = "",
    more: str = "",
) -> World:
    """Return a world with rules; databases are db, new and forced."""
    lines = [more]
    for name, text in (("routing_rules", routing), ("rewrite_query", rewriting)):
        if text:
            path = write(folder, f"{name}.py", text)
            lines.append(f"{name}_py_module_file = {path}")
    return world_of(databases=TWO, settings="\n".join(lines))
