"""``make bench``: what pgswitch costs beside PgBouncer, on this machine, now.

Rounds are interleaved (A B C A B C); CPU time is the kernel's own account of the
pooler's processes; only medians and ratios within the run mean anything.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench.contenders import Contender, contenders
from bench.report import Target, picture, table
from bench.work import (
    CLIENTS,
    IDLE_CLIENTS,
    RESULT,
    Figure,
    NotSupported,
    Programs,
    beside_idle,
    memory_of_idle,
    pgbench,
    psql,
)
from pgswitch.demo.account import PrivateDirectory, account_for_children
from pgswitch.demo.installations import find_installations, readable_by
from pgswitch.demo.postgres import PostgresServer

FIRST = "seconds to the first query"
MEMORY = "kB per idle client"
BESIDE = f"CPU beside {IDLE_CLIENTS} idle clients / without"
CPU = "CPU us per"
CHEAP, FAST = Target(1.35, 1.1), Target(0.85, 1.0, more_is_better=True)
BULK = Target(0.8, 0.5)
TARGETS = {
    **{(f"{CPU} {name}", "pgswitch"): CHEAP for name in ("simple", "extended")},
    **{(f"{name} per second", "pgswitch"): FAST for name in ("simple", "extended")},
    **{
        (f"{CPU} MB of {name}", "pgswitch"): BULK
        for name in ("result", "COPY out", "COPY in")
    },
    (f"{CPU} connection", "pgswitch"): Target(2.0, 1.2),
    (f"{CPU} simple", "interpreted"): Target(1.9, 1.5),
}
PICTURE = [work for work, name in TARGETS if name == "pgswitch"]

Work = Callable[[Contender], Figure]


def works(programs: Programs, *, quick: bool) -> dict[str, Work]:
    """Return the loads by name, smaller ones if ``quick``."""
    count = 1000 if quick else 5000
    times = 3 if quick else 10
    clients = ("-c", str(CLIENTS))
    rows = programs.directory / "rows"
    rows.write_bytes((b"x" * 100 + b"\n") * 130_000)
    return {
        "simple": pgbench(programs, "-S", *clients, "-t", str(count)),
        "extended": pgbench(
            programs, "-S", "-M", "extended", *clients, "-t", str(count)
        ),
        "prepared": pgbench(
            programs, "-S", "-M", "prepared", *clients, "-t", str(count)
        ),
        "TPC-B": pgbench(programs, *clients, "-t", str(count // 10)),
        "connection": pgbench(programs, "-S", "-C", *clients, "-t", str(count // 25)),
        "MB of result": psql(programs, times, RESULT),
        "MB of COPY out": psql(programs, times, f"COPY ({RESULT}) TO STDOUT"),
        "MB of COPY in": psql(programs, times, "COPY sink FROM STDIN", rows),
        "idle": beside_idle(programs, count),
    }


def main() -> int:
    """Run the benchmark; return 0."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="end within two minutes")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--other", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--compiled", type=Path, default=Path("build/compiled"))
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    rounds = options.rounds or (2 if options.quick else 5)
    with ExitStack() as cleanup:
        samples = _measure(options, rounds, cleanup)
    options.out.mkdir(parents=True, exist_ok=True)
    facts = {"machine": machine(), "rounds": rounds, "samples": samples}
    (options.out / "bench.json").write_text(json.dumps(facts, indent=1))
    (options.out / "bench.svg").write_text(picture(samples, PICTURE))
    print(
        f"\n{machine()}; medians of {rounds} rounds, ratio to PgBouncer in brackets\n"
    )
    print(table(samples, TARGETS))
    print(f"\nwritten: {options.out}/bench.json, {options.out}/bench.svg")
    return 0


def _measure(
    options: argparse.Namespace, rounds: int, cleanup: ExitStack
) -> dict[str, dict[str, list[float]]]:
    """Run all rounds; return the figures by work and contender."""
    account = account_for_children()
    folder = PrivateDirectory(account)
    cleanup.callback(folder.remove)
    place = folder.path / "programs"
    place.mkdir()
    installation = readable_by(account, find_installations()[0], place)
    data = folder.path / "data"
    data.mkdir(mode=0o700)
    if account is not None:
        os.chown(data, account.uid, account.gid)
    server = PostgresServer(installation, data, account)
    server.create(hba=("local all all trust", "host all all 127.0.0.1/32 trust"))
    server.start()
    cleanup.callback(server.stop, "immediate")
    server.execute("CREATE ROLE bench SUPERUSER LOGIN")
    server.create_database("bench")
    server.execute("CREATE UNLOGGED TABLE sink (a text)", database="bench")
    programs = Programs(installation, folder.path)
    programs.run("pgbench", "-i", "-q", "-s", "10", "-p", str(server.port), "bench")
    racers, missing = contenders(options.compiled.resolve(), account, options.other)
    for line in missing:
        print(line, file=sys.stderr)
    samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for racer in racers:
        cleanup.callback(racer.stop)
        for _ in range(rounds):
            racer.stop()
            seconds = racer.start(folder.path, server.port, account)
            samples[FIRST][racer.name].append(seconds)
        if racer.name != "haproxy":
            samples[MEMORY][racer.name].append(memory_of_idle(racer))
    _race(works(programs, quick=options.quick), racers, rounds, samples)
    return samples


def _race(
    loads: dict[str, Work],
    racers: list[Contender],
    rounds: int,
    samples: dict[str, dict[str, list[float]]],
) -> None:
    """Have each contender do each work, in turn, round by round."""
    total, done = len(loads) * len(racers) * rounds, 0
    unable: set[tuple[str, str]] = set()
    for _ in range(rounds):
        for name, load in loads.items():
            for racer in racers:
                done += 1
                _progress(done, total, f"{name}, {racer.name}")
                is_idle = name == "idle"
                if (name, racer.name) in unable or (
                    is_idle and racer.name == "haproxy"
                ):
                    continue
                try:
                    figure = load(racer)
                except NotSupported as reason:
                    unable.add((name, racer.name))
                    print(f"\n{racer.name} cannot do {name}: {reason}", file=sys.stderr)
                    continue
                key = BESIDE if is_idle else f"{CPU} {name}"
                samples[key][racer.name].append(figure.cpu_us)
                if not is_idle:
                    key = f"{name} per second"
                    samples[key][racer.name].append(figure.per_second)


def _progress(done: int, total: int, what: str) -> None:
    if sys.stderr.isatty():
        bar = "#" * (30 * done // total)
        print(f"\r[{bar:<30}] {done}/{total} {what:<40}", end="", file=sys.stderr)
    elif done % 10 == 1:
        print(f"{done}/{total} {what}", file=sys.stderr)


def machine() -> str:
    """Return what kind of machine this is."""
    return (
        f"{os.cpu_count()} cores, Linux {platform.release().split('-')[0]},"
        f" Python {platform.python_version()}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
