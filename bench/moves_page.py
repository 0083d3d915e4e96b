"""The place of the switchover figures in docs/performance.md."""

from __future__ import annotations

BEGIN = "<!-- switchover: written by `make bench-switchover ARGS=--publish` -->"
END = "<!-- end of switchover -->"
HEADING = "## When the writer moves"


def with_moves(page: str, section: str) -> str:
    """Return the page with its section of switchovers replaced, or added at the end."""
    block = f"{BEGIN}\n{HEADING}\n\n{section}\n{END}"
    before, begin, rest = page.partition(BEGIN)
    if not begin:
        return f"{page.rstrip()}\n\n{block}\n"
    return f"{before}{block}{rest.partition(END)[2]}"
