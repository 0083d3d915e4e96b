"""The frame of programs that start servers: signals, exit codes, an end in order."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack

import psycopg

from pgswitch.demo.child import ChildFailed

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130
FAILURES = (ChildFailed, OSError, psycopg.Error)
"""Of a program, a file, PostgreSQL."""


def run(
    name: str,
    work: Callable[[ExitStack], int],
    *,
    interrupted: int = INTERRUPTED,
    failures: tuple[type[Exception], ...] = FAILURES,
) -> int:
    """Do the work; return its exit code, or ``interrupted`` after Ctrl-C and SIGTERM.

    What it has registered with the stack is done at the end, whatever signals come
    then.  1 when it raised one of ``failures``, which is printed under ``name``.
    """
    # A shell starts background jobs with SIGINT ignored; here it always counts.
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    try:
        with ExitStack() as cleanup:
            try:
                return work(cleanup)
            finally:
                # A second Ctrl-C must not cut the cleaning short.
                for number in SIGNALS:
                    signal.signal(number, signal.SIG_IGN)
    except KeyboardInterrupt:
        print("\nstopped; nothing is left behind", file=sys.stderr)
        return interrupted
    except failures as error:
        print(f"\n{name}: {error}", file=sys.stderr)
        return 1
