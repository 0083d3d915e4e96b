"""The place of the switchover figures in docs/performance.md."""

from __future__ import annotations

BEGIN = "<!-- switchover: written by `make bench-switchover ARGS=--publish` -->"
END = "<!-- end of switchover -->"
HEADING = "## When the writer moves"
EXPLANATION = """\
All contenders' clients write through the same moves of a three-node cluster, beside
a client that knows the next writer, is connected to it already and tries it every 2
ms: its outage is the *floor*, the database's own. Two clients each, so with 20 moves
p99 is the worst of 40. After a crash (SIGKILL of the postmaster) the rest of the old
writer goes on answering for some 10 ms: the floor's client still writes there, rows
that no standby gets, while pgswitch holds its clients as soon as the postmaster
refuses connections. When each wrote again is in the column behind. Rows missing
after a crash had not reached a standby; replication is asynchronous here. In session
mode a client that holds a server is told to connect again (57P01), which it does at
once."""


def with_moves(page: str, section: str) -> str:
    """Return the page with its section of switchovers replaced, or added at the end."""
    block = f"{BEGIN}\n{HEADING}\n\n{EXPLANATION}\n\n{section}\n{END}"
    before, begin, rest = page.partition(BEGIN)
    if not begin:
        return f"{page.rstrip()}\n\n{block}\n"
    return f"{before}{block}{rest.partition(END)[2]}"
