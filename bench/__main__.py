"""``python -m bench``: what pgswitch costs beside PgBouncer, on this machine, now."""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from bench.chart import chart
from bench.contenders import Contender, ContenderFailed, contenders
from bench.document import Facts, as_json, as_section, with_section
from bench.encrypted import (
    MEMORY_LOAD,
    build_encrypted,
    encrypted,
    encrypted_loads,
)
from bench.loads import FULL, QUICK, Amounts, loads
from bench.programs import LoadFailed
from bench.progress import Progress
from bench.race import Race
from bench.rows import IDLE_CLIENTS, INTERPRETED, OURS
from bench.samples import Samples
from bench.stage import build
from bench.table import figures_table, goals_table
from pgswitch.demo.account import account_for_children
from pgswitch.demo.child import ChildFailed

ROUNDS, QUICK_ROUNDS = 5, 3
QUICK_LIMIT_S, QUICK_TLS_LIMIT_S = 60.0, 15.0
"""How long the rounds of a quick run may take, in clear and by TLS.

What comes before takes some 15 s each.
"""

FILES_NEEDED = 2 * IDLE_CLIENTS + 200
"""Descriptors of a pooler between idle clients: two each were they all at work."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PAGE, PICTURE = Path("docs/performance.md"), "performance.svg"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 0, 1 when something did not work, 130 after Ctrl-C."""
    options = _parse(arguments)
    try:
        if options.publish:  # not known to fail only after all the work
            with_section(PAGE.read_text(), "")
        _allow_many_files()
        with _ending_in_order() as cleanup:
            facts, race = _measure(options, cleanup)
    except KeyboardInterrupt:
        print("\nstopped; nothing is left behind", file=sys.stderr)
        return 130
    except (
        ChildFailed,
        ContenderFailed,
        LoadFailed,
        OSError,
        ValueError,
        psycopg.Error,
    ) as error:
        print(f"\nbench: {error}", file=sys.stderr)
        return 1
    _write(options, facts, race.samples)
    for line in race.failures:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if race.failures else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="CPU, speed and memory of pgswitch beside PgBouncer and HAProxy.",
    )
    parser.add_argument("--quick", action="store_true", help="end within two minutes")
    parser.add_argument("--rounds", type=int, help=f"how many (default {ROUNDS})")
    parser.add_argument(
        "--other",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="one more pooler; {file} in the command stands for its pgbouncer.ini",
    )
    parser.add_argument(
        "--compiled",
        type=Path,
        default=Path("build/compiled"),
        help="folder that pgswitch was installed to (default build/compiled)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/bench"),
        help="folder for bench.json and bench.svg (default build/bench)",
    )
    parser.add_argument(
        "--publish", action="store_true", help=f"write the figures into {PAGE} too"
    )
    options = parser.parse_args(arguments)
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds: at least one")
    options.command = _command(sys.argv[1:] if arguments is None else arguments)
    return options


def _command(arguments: Sequence[str]) -> str:
    """Return how a reader gets the same: as a call of make."""
    others = [part for part in arguments if part not in {"--quick", "--publish"}]
    words = ["make bench"]
    if "--quick" in arguments:
        words.append("QUICK=1")
    if others:
        text = shlex.join(others)
        words.append(f'ARGS="{text}"' if "'" in text else f"ARGS={shlex.quote(text)}")
    return " ".join(words)


@contextmanager
def _ending_in_order() -> Iterator[ExitStack]:
    """Turn signals into KeyboardInterrupt; at the end do all that was registered."""
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as cleanup:
        try:
            yield cleanup
        finally:
            # A second Ctrl-C must not cut the cleaning short.
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)


def _measure(options: argparse.Namespace, cleanup: ExitStack) -> tuple[Facts, Race]:
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    is_bounded = options.quick and options.rounds is None
    account = account_for_children()
    racers, missing = contenders(options.compiled.resolve(), account, options.other)
    for line in [*missing, "starting PostgreSQL"]:
        print(line, file=sys.stderr)
    stage = build(account, cleanup)
    for racer in racers:
        cleanup.callback(racer.stop)
    amounts = QUICK if options.quick else FULL
    todo = loads(stage.programs, amounts, stage.lines, stage.empty_sink)
    fresh = 1 if is_bounded else rounds
    progress = Progress(len(racers) * (fresh + len(todo) * rounds), sys.stderr)
    race = Race(stage, racers, progress)
    race.run_fresh(fresh)
    done = race.run_loads(todo, rounds, QUICK_LIMIT_S if is_bounded else float("inf"))
    progress.end()
    for racer in racers:
        racer.stop()
    try:
        _measure_encrypted(race, encrypted(racers), amounts, fresh, rounds, cleanup)
    except ChildFailed as error:
        missing.append(f"no figures with TLS: {error}")
    versions = _versions(racers, stage.server.installation.version)
    return Facts(options.command, machine(), versions, done, missing), race


def _measure_encrypted(  # noqa: PLR0917 - of one caller
    plain: Race,
    racers: Sequence[Contender],
    amounts: Amounts,
    fresh: int,
    rounds: int,
    cleanup: ExitStack,
) -> None:
    """Do the loads with TLS on both sides; what they give joins that of ``plain``.

    Raises ChildFailed when there is no PostgreSQL with TLS.
    """
    stage = build_encrypted(account_for_children(), cleanup)
    for racer in racers:
        cleanup.callback(racer.stop)
    todo = encrypted_loads(stage.programs, amounts)
    progress = Progress(len(racers) * (fresh + len(todo) * rounds), sys.stderr)
    race = Race(stage, racers, progress, plain.samples)
    race.run_fresh(fresh, MEMORY_LOAD, "")
    race.run_loads(todo, rounds, QUICK_TLS_LIMIT_S if fresh < rounds else float("inf"))
    progress.end()
    plain.failures.extend(race.failures)


def _write(options: argparse.Namespace, facts: Facts, samples: Samples) -> None:
    """Write the files and print the tables."""
    drawn = chart(samples, facts.sentence())
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "bench.json").write_text(as_json(facts, samples))
    (options.out / "bench.svg").write_text(drawn)
    print(f"\n{facts.sentence()}\n\n{figures_table(samples)}\n")
    print(f"{goals_table(samples)}\n")
    print(f"written: {options.out}/bench.json, {options.out}/bench.svg")
    if options.publish:
        section = as_section(facts, samples, PICTURE)
        PAGE.write_text(with_section(PAGE.read_text(), section))
        PAGE.with_name(PICTURE).write_text(drawn)
        print(f"written: {PAGE}, {PAGE.with_name(PICTURE)}")


def _versions(racers: Sequence[Contender], postgres: str) -> dict[str, str]:
    """Return what ran, by name; pgswitch once, however many ways it ran in."""
    known = {racer.name: racer.version for racer in racers if racer.version}
    if OURS in known:
        known.pop(INTERPRETED, None)
    return {"PostgreSQL": postgres, **known}


def machine() -> dict[str, str | int]:
    """Return what kind of machine this is."""
    return {
        "cores": os.cpu_count() or 1,
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    """Return the processor's name, as /proc/cpuinfo has it on PCs."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _allow_many_files() -> None:
    """Raise the limit of open files for our children. Raises OSError if too low."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if 0 <= hard < FILES_NEEDED:
        raise OSError(
            f"{FILES_NEEDED} open files are needed, {hard} allowed: ulimit -n"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
