"""``python -m bench.switchover``: outages of clients when the writer moves.

Clients of several poolers write through the same moves, together with an ideal client
that knows the next writer: its outage, the *floor*, is that of the database itself.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from bench.__main__ import PAGE, add_common
from bench.switchover_report import (
    CRASH,
    PLANNED,
    Figures,
    Samples,
    chart,
    figures,
    table,
    with_moves,
)
from pgswitch.demo.cluster import (
    DATABASE,
    HOW,
    SESSION,
    DemoCluster,
    running_demo_cluster,
    stop_pooler,
)
from pgswitch.demo.pooler import Pooler, ini_text
from pgswitch.demo.processes import Child, free_port, is_free, run, subdirectory
from pgswitch.demo.writers import IdealClient, Writer, tally_writes

MOVES = 20
CLIENTS = 2
"""Of each endpoint."""
BEFORE_S, AFTER_S, MAX_OUTAGE_S = 1.5, 0.3, 10.0
"""Time to write before a move, after all write again, and until a move has failed."""
IDLE_S = 10.0
POLL_S = 0.01
CHART = "switchover-outage.svg"


@dataclass(slots=True)
class Endpoint:
    """A way to reach the writer, and the samples of its clients so far."""

    name: str
    connect: Callable[[], psycopg.Connection]
    samples: dict[str, Samples] = field(
        default_factory=lambda: {PLANNED: Samples(), CRASH: Samples()}
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return 0, 1 after a failure, 130 after Ctrl-C."""
    options = _parse(arguments)
    return run("bench", lambda cleanup: _run(options, cleanup))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.switchover",
        description="Outages of clients when the writer of a cluster moves.",
    )
    parser.add_argument(
        "--moves", type=int, default=MOVES, help=f"of each kind (default {MOVES})"
    )
    add_common(parser, "switchover")
    parser.add_argument(
        "--idle", type=float, default=IDLE_S, help="seconds to measure monitoring for"
    )
    options = parser.parse_args(arguments)
    if options.moves < 1:
        parser.error("--moves: at least one")
    return options


def _run(options: argparse.Namespace, cleanup: ExitStack) -> int:
    demo = cleanup.enter_context(running_demo_cluster())
    pooler = demo.start_pooler()
    cleanup.callback(stop_pooler, pooler)
    cpu = _monitoring(pooler, options.idle)
    endpoints = _endpoints(demo, pooler, options.other, cleanup)
    for how in HOW:
        _moves(demo, endpoints, how, options.moves)
    lines = {
        f"{one.name}, {how}": figures(one.samples[how])
        for how in HOW
        for one in endpoints
    }
    _write(options, lines, endpoints, cpu)
    recovered = all(one.recovered == one.moves for one in lines.values())
    return 0 if recovered else 1


def _endpoints(
    demo: DemoCluster, pooler: Pooler, others: Sequence[str], cleanup: ExitStack
) -> list[Endpoint]:
    """Return pgswitch in both pool modes, libpq without a pooler, and the others."""
    found = [
        Endpoint("pgswitch, transaction", demo.through(pooler)),
        Endpoint("pgswitch, session", demo.through(pooler, SESSION)),
        Endpoint("libpq, all hosts", demo.directly(*demo.cluster.nodes)),
    ]
    for at, other in enumerate(others):
        name, _, command = other.partition("=")
        port = _start_other(demo, name, command, at, cleanup)
        for mode, database in (("transaction", DATABASE), ("session", SESSION)):
            text = f"host=127.0.0.1 port={port} user=app dbname={database}"
            found.append(Endpoint(f"{name}, {mode}", _connector(text)))
    return found


def _connector(text: str) -> Callable[[], psycopg.Connection]:
    return lambda: psycopg.connect(text, autocommit=True)


def _start_other(
    demo: DemoCluster, name: str, command: str, at: int, cleanup: ExitStack
) -> int:
    """Start another pooler with our configuration; return its port."""
    place = subdirectory(demo.folder, f"other-{at}", demo.account)
    port = free_port()
    users, file = place / "userlist.txt", place / "pooler.ini"
    users.write_text('"app" ""\n')
    sections = demo.sections()
    sections["pgbouncer"] |= {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_file": str(users),
    }
    file.write_text(ini_text(sections))
    for path in (users, file):
        path.chmod(0o644)
    child = Child(
        shlex.split(command.replace("{file}", str(file))),
        name=name,
        log_path=place / "log",
        directory=place,
        account=demo.account,
    )
    cleanup.callback(child.stop, signal.SIGINT, signal.SIGTERM)
    child.await_ready(lambda: not is_free(port), MAX_OUTAGE_S)
    return port


def _monitoring(pooler: Pooler, seconds: float) -> float:
    """Return the CPU time for monitoring three nodes, in per cent of a core."""
    before = _cpu_s(pooler.child.pid)
    time.sleep(seconds)  # noqa: TID251 - a process of its own
    # Two database entries monitor the cluster separately.
    return (_cpu_s(pooler.child.pid) - before) / seconds * 100 / 2


def _cpu_s(pid: int) -> float:
    text = Path(f"/proc/{pid}/schedstat").read_text()
    return int(text.split()[0]) / 1e9


def _moves(demo: DemoCluster, endpoints: list[Endpoint], how: str, count: int) -> None:
    """Stop the writer ``count`` times while all clients write."""
    # Separate keys for each kind of move, or rows would look doubled.
    first = 1000 * (1 + list(HOW).index(how))
    ideal = IdealClient(first - 1, demo.directly(demo.cluster.writer))
    writers = {
        one.name: [
            Writer(first + 10 * at + number, one.connect, pause_s=0.001)
            for number in range(CLIENTS)
        ]
        for at, one in enumerate(endpoints)
    }
    clients = [ideal, *(writer for group in writers.values() for writer in group)]
    for writer in clients:
        writer.start()
    for number in range(count):
        began, until = _one_move(demo, ideal, clients, how)
        floor = ideal.outage(began, until)
        for one in endpoints:
            samples = one.samples[how]
            samples.moves += 1
            gaps = [writer.outage(began, until) for writer in writers[one.name]]
            samples.recovered += all(
                writer.writes[-1].ended > began and not writer.writes[-1].sqlstate
                for writer in writers[one.name]
            )
            samples.excess_ms += [(gap.lasted - floor.lasted) * 1000 for gap in gaps]
            samples.behind_ms += [(gap.ended - floor.ended) * 1000 for gap in gaps]
        samples = endpoints[0].samples[how]
        print(
            f"{how} {number + 1} of {count}: floor {floor.lasted * 1000:.0f} ms,"
            f" {endpoints[0].name} {samples.excess_ms[-1]:+.1f} ms",
            file=sys.stderr,
        )
    for writer in clients:
        writer.stop()
    there = demo.rows()
    for one in endpoints:
        one.samples[how].writes = tally_writes(writers[one.name], there)


def _one_move(
    demo: DemoCluster, ideal: IdealClient, clients: list[Writer], how: str
) -> tuple[float, float]:
    """Move the writer once; return when it began and when all clients wrote again.

    The work after that, such as base backups of standbys, does not count.
    """
    cluster = demo.cluster
    # The ideal client must know. After a crash the other standby may be slightly ahead.
    next_ = cluster.standbys[0]
    ideal.expect(demo.directly(next_))
    time.sleep(BEFORE_S)  # noqa: TID251 - a process of its own
    old, began = cluster.writer, time.monotonic()
    HOW[how](old)
    cluster.promote(next_)
    counts = [writer.acknowledged() for writer in clients]
    deadline = time.monotonic() + MAX_OUTAGE_S
    while time.monotonic() < deadline and any(
        writer.acknowledged() < count + 3
        for writer, count in zip(clients, counts, strict=True)
    ):
        time.sleep(POLL_S)  # noqa: TID251 - as above
    time.sleep(AFTER_S)  # noqa: TID251 - as above
    until = time.monotonic()
    for node in cluster.standbys:
        # It may have received more WAL of the crashed writer than the new one.
        if how == CRASH:
            node.kill()
            demo.cluster.rejoin(node, from_copy=True)
    demo.restore(old, how)
    return began, until


def _write(
    options: argparse.Namespace,
    lines: dict[str, Figures],
    endpoints: list[Endpoint],
    cpu: float,
) -> None:
    """Write the files and print the table."""
    words = (
        f"{options.moves} planned moves and {options.moves} crashes,"
        f" {CLIENTS} clients each; monitoring three nodes takes {cpu:.2f} % of a core"
    )
    drawn = chart({one.name: one.samples for one in endpoints})
    options.out.mkdir(parents=True, exist_ok=True)
    document = {
        "moves": options.moves,
        "monitoring_cpu_percent": cpu,
        "figures": {name: one.as_dict() for name, one in lines.items()},
        "excess_ms": {
            one.name: {how: one.samples[how].excess_ms for how in HOW}
            for one in endpoints
        },
        "behind_ms": {
            one.name: {how: one.samples[how].behind_ms for how in HOW}
            for one in endpoints
        },
    }
    (options.out / "switchover.json").write_text(json.dumps(document, indent=1))
    (options.out / "switchover.svg").write_text(drawn)
    print(f"\n{words}\n\n{table(lines)}\n")
    print(f"written: {options.out}/switchover.json, {options.out}/switchover.svg")
    if options.publish:
        section = f"{words}.\n\n{table(lines)}\n\n![outage]({CHART})"
        PAGE.write_text(with_moves(PAGE.read_text(), section))
        PAGE.with_name(CHART).write_text(drawn)
        print(f"written: {PAGE}, {PAGE.with_name(CHART)}")


if __name__ == "__main__":
    sys.exit(main())
