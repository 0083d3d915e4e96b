"""The frame of programs that start servers: signals, exit codes, an end in order."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

import psycopg

from pgswitch.demo.child import ChildFailed

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130


def run(name: str, work: Callable[[], int], *, interrupted: int = INTERRUPTED) -> int:
    """Do the work; return its exit code, or ``interrupted`` after Ctrl-C and SIGTERM.

    1 when a program, a file or PostgreSQL failed, which is printed under ``name``.
    """
    # A shell starts background jobs with SIGINT ignored; here it always counts.
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    try:
        return work()
    except KeyboardInterrupt:
        print("\nstopped; nothing is left behind", file=sys.stderr)
        return interrupted
    except (ChildFailed, OSError, psycopg.Error) as error:
        print(f"\n{name}: {error}", file=sys.stderr)
        return 1


def end_undisturbed() -> None:
    """Ignore further signals: a second Ctrl-C must not cut the cleaning short."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
