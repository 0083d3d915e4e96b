"""What a run leaves: a JSON file, and the figures in docs/performance.md.

The JSON file is one object::

    schema     1; grows when a reader must know
    command    how the run was started
    machine    {"cores", "processor", "system", "python"}
    versions   {contender or "postgresql": version}
    rounds     how many
    figures    one for each row and contender:
               {"row", "unit", "contender", "samples" (a number for each round, null
               where there is none), "median", "ratio" (to PgBouncer, or null)}
    goals      one for each goal: {"row", "contender", "must", "aim", "absolute",
               "value" (or null), "verdict" ("aim", "must", "missed" or null)}
    left_out   {"row", "contender", "reason"} for what could not be measured
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from bench.rows import GOALS, ROWS
from bench.samples import Samples
from bench.table import figures_table, goals_table

BEGIN = "<!-- figures: begin (written by `make bench ARGS=--publish`) -->"
END = "<!-- figures: end -->"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Facts:
    """What must be known about a run to read its figures."""

    command: str
    machine: Mapping[str, str | int]
    versions: Mapping[str, str]
    rounds: int
    remarks: list[str] = field(default_factory=list)

    def sentence(self) -> str:
        """Return machine and versions in one line."""
        machine = self.machine
        rounds = "one round" if self.rounds == 1 else f"medians of {self.rounds} rounds"
        versions = ", ".join(f"{name} {text}" for name, text in self.versions.items())
        return (
            f"{machine['cores']} cores ({machine['processor']}), {machine['system']},"
            f" Python {machine['python']}; {versions}; {rounds}"
        )


def as_json(facts: Facts, samples: Samples) -> str:
    """Return the text of the JSON file."""
    cells = [(row, name) for row in ROWS for name in samples.contenders]
    found = {
        "schema": SCHEMA,
        "command": facts.command,
        "machine": dict(facts.machine),
        "versions": dict(facts.versions),
        "rounds": facts.rounds,
        "remarks": facts.remarks,
        "figures": [
            {
                "row": row,
                "unit": ROWS[row].unit,
                "contender": name,
                "samples": [values.get(n) for n in range(facts.rounds)],
                "median": samples.median(row, name),
                "ratio": samples.ratio(row, name),
            }
            for row, name in cells
            if (values := samples.of(row, name))
        ],
        "goals": [
            {
                **asdict(goal),
                "value": judged[0] if judged else None,
                "verdict": judged[1] if judged else None,
            }
            for goal in GOALS
            for judged in [samples.judged(goal)]
        ],
        "left_out": [
            {"row": row, "contender": name, "reason": reason}
            for row, name in cells
            if (reason := samples.why_not(row, name))
        ],
    }
    return json.dumps(found, indent=1) + "\n"


def as_section(facts: Facts, samples: Samples, picture: str) -> str:
    """Return the generated part of docs/performance.md, markers included.

    ``picture`` is where the chart lies, as seen from that file.
    """
    lines = [
        BEGIN,
        f"Made by `{facts.command}`: {facts.sentence()}.",
        *facts.remarks,
        "",
        goals_table(samples),
        "",
        f"![CPU relative to PgBouncer]({picture})",
        "",
        "All figures, with the ratio to PgBouncer in brackets:",
        "",
        figures_table(samples),
        "",
        END,
    ]
    return "\n".join(lines)


def with_section(page: str, section: str) -> str:
    """Return a page with the part between the markers replaced.

    Raises ValueError when the page has not each marker once, in this order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or END in before or BEGIN in after or END in after:
        raise ValueError(f"the page needs {BEGIN} and, after it, {END}, once each")
    return before + section + after
