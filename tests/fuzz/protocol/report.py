"""A finding as people read it, and as ``--replay`` does."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path

from tests.fuzz.protocol.judging import Finding
from tests.fuzz.protocol.script import Case, from_json, listing, to_json

FAILURE = Path("fuzz-protocol-failure.txt")
MARK = "--- the case, for --replay"
WIDTH = 60


def written(case: Case, finding: Finding, seed: int, log: str) -> str:
    """Return all there is to say."""
    parts = [
        f"{finding.kind}: {finding.what}",
        f"client {finding.client}, group {finding.group}",
        f"seed {seed}, variant {case.variant}, {case.size} steps",
        f"signature: {finding.signature}",
        "",
        *scripts(case, finding),
        "",
        *side_by_side(finding.direct, finding.pooled),
        "",
    ]
    if log:
        parts += ["--- end of the pooler's log", log, ""]
    return "\n".join([*parts, MARK, to_json(case), ""])


def read(path: Path) -> Case:
    """Return the case in a report."""
    return from_json(path.read_text().partition(MARK)[2])


def scripts(case: Case, finding: Finding) -> list[str]:
    """Return what clients did, in the last round that of the finding's client first."""
    lines = []
    for number, one in enumerate(case.rounds):
        is_last = number == len(case.rounds) - 1
        lines.append(f"round {number + 1} of {len(case.rounds)}, at the same time:")
        for script in sorted(
            one.scripts, key=lambda script: script.client != finding.client
        ):
            is_its = is_last and script.client == finding.client
            until = finding.group if is_its and finding.group >= 0 else None
            lines += [f"  {line}" for line in listing(script, until)]
    return lines


def side_by_side(direct: tuple[str, ...], pooled: tuple[str, ...]) -> list[str]:
    """Return both sequences side by side, the first difference marked."""
    lines = [f"  {'PostgreSQL':{WIDTH}} | pgswitch"]
    is_marked = False
    for one, other in zip_longest(direct, pooled, fillvalue=""):
        mark = " "
        if one != other and not is_marked:
            mark, is_marked = ">", True
        lines.append(f"{mark} {_cut(one):{WIDTH}} | {_cut(other)}")
    return lines


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."
