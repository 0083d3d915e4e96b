"""``python -m soak``: many clients, random faults, and a pooler that must survive."""

from __future__ import annotations

import argparse
import asyncio
import resource
import secrets
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from pgswitch.demo.processes import run
from soak.audit import Observer
from soak.run import ADMIN, Environment, Findings, Size, SoakRun, start_environment

SHOWN = 20
"""How many violations are printed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return 0, 1 if something was wrong, 130 after Ctrl-C."""
    options = _parse(arguments)
    return run("soak", lambda cleanup: _run(options, cleanup))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m soak",
        description="Clients query, cancel and disconnect at random, with faults.",
    )
    parser.add_argument("--seconds", type=float, default=180.0, help="default 180")
    parser.add_argument("--clients", type=int, default=2000, help="default 2000")
    parser.add_argument("--servers", type=int, default=20, help="default 20")
    parser.add_argument("--seed", type=int, help="repeat the run that printed it")
    parser.add_argument(
        "--pause",
        type=float,
        default=6.0,
        metavar="S",
        help="longest pause of a client between two steps (default 6 s)",
    )
    parser.add_argument("--calm", action="store_true", help="inject no faults")
    parser.add_argument("--keep", action="store_true", help="print the pooler's log")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace, cleanup: ExitStack) -> int:
    _allow_many_files(4 * options.clients + 500)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    size = Size(
        options.clients, options.servers, options.seconds, options.pause, options.calm
    )
    again = (
        f"make soak ARGS='--seed {seed} --seconds {size.seconds:g}"
        f" --clients {size.clients} --servers {size.servers} --pause {size.pause_s:g}"
        f"{' --calm' if size.calm else ''}'"
    )
    print(f"seed {seed}", flush=True)
    environment = start_environment(size.clients, size.servers, cleanup)
    findings = _execute(environment, size, seed)
    for line in findings.notes:
        print(line)
    if "Traceback" in environment.pooler.log_text():
        findings.wrong.append("the pooler logged a traceback")
    if options.keep:
        print(environment.pooler.log_text())
    for line in findings.wrong[:SHOWN]:
        print(f"WRONG: {line}")
    if findings.wrong:
        print(f"{len(findings.wrong)} things went wrong; repeat with: {again}")
        return 1
    print("nothing went wrong")
    return 0


def _execute(environment: Environment, size: Size, seed: int) -> Findings:
    observer = Observer(
        environment.pooler.port, ADMIN, environment.server, environment.pooler.child.pid
    )
    try:
        run = SoakRun(size, seed, environment.pooler.port, observer, _say)
        return asyncio.run(run.execute())
    finally:
        observer.close()


def _say(line: str) -> None:
    """Show a line of progress; on a terminal it replaces the previous one."""
    if sys.stderr.isatty():
        print(f"\r{line:<110}", end="", file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr, flush=True)


def _allow_many_files(needed: int) -> None:
    """Raise the limit of open files for our children. Raises OSError if too low."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if 0 <= hard < needed:
        raise OSError(f"{needed} open files are needed, {hard} allowed: ulimit -n")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
