"""Idle clients, held by a process of their own: ``python -m bench.idle PORT COUNT 0``.

With 1 at the end they come by TLS.
The process says ``holding`` when all are logged in, and ends when its standard input
does: so it never outlives whoever started it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.wire import log_in

HOLDING = "holding"


class IdleFailed(RuntimeError):
    """The idle clients could not log in; the text says why."""


@contextmanager
def idle_clients(port: int, count: int, *, by_tls: bool = False) -> Iterator[None]:
    """Have ``count`` idle clients of the pooler at ``port`` for the length of a block.

    Raises IdleFailed when they cannot all log in.
    """
    holder = subprocess.Popen(
        [sys.executable, "-m", "bench.idle", str(port), str(count), str(int(by_tls))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        try:
            said = holder.stdout.readline().strip() if holder.stdout else ""
            if said != HOLDING:
                raise IdleFailed(said or "the process that holds idle clients ended")
            yield
        finally:
            holder.kill()


def main() -> None:
    """Log in, say so, and stay until standard input ends."""
    port, count, by_tls = map(int, sys.argv[1:])
    with ExitStack() as connections:
        for number in range(count):
            try:
                connections.enter_context(log_in(port, by_tls=bool(by_tls)))
            except (OSError, EOFError) as error:
                print(f"idle client {number + 1} of {count}: {error}", flush=True)
                return
        print(HOLDING, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
