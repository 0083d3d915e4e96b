"""``python -m bench.switchover``: how long a move of the writer lasts for clients.

Every contender's clients write through the same moves, beside a client that knows the
next writer and tries it all the time: its outage is the database's own, the *floor*.
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

from bench.moves import CRASH, PLANNED, Figures, Samples, figures, table
from bench.moves_chart import chart
from bench.moves_page import with_moves
from bench.options import PAGE, add_common
from pgswitch.demo.cluster import (
    DATABASE,
    HOW,
    SESSION,
    DemoCluster,
    running_demo_cluster,
    stop_pooler,
    subdirectory,
)
from pgswitch.demo.pooler import Pooler, ini_text
from pgswitch.demo.processes import Child, free_port, is_free, run
from pgswitch.demo.writers import IdealClient, Writer, tally_writes

MOVES = 20
CLIENTS = 2
"""Of each contender."""
BEFORE_S, AFTER_S, MOST_S = 1.5, 0.3, 10.0
"""Writing before a move, after everybody writes again, and until a move is given up."""
IDLE_S = 10.0
POLL_S = 0.01
PICTURE = "switchover-outage.svg"


@dataclass(slots=True)
class Contender:
    """Some way to the writer, and its clients' samples so far."""

    name: str
    connect: Callable[[], psycopg.Connection]
    samples: dict[str, Samples] = field(
        default_factory=lambda: {PLANNED: Samples(), CRASH: Samples()}
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return 0, 1 when something did not work, 130 after Ctrl-C."""
    options = _parse(arguments)
    return run("bench", lambda cleanup: _run(options, cleanup))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.switchover",
        description="Outages of clients while the writer of a cluster moves.",
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
    scene = cleanup.enter_context(running_demo_cluster())
    pooler = scene.start_pooler()
    cleanup.callback(stop_pooler, pooler)
    cpu = _monitoring(pooler, options.idle)
    contenders = _contenders(scene, pooler, options.other, cleanup)
    for how in HOW:
        _moves(scene, contenders, how, options.moves)
    lines = {
        f"{one.name}, {how}": figures(one.samples[how])
        for how in HOW
        for one in contenders
    }
    _write(options, lines, contenders, cpu)
    recovered = all(one.recovered == one.moves for one in lines.values())
    return 0 if recovered else 1


def _contenders(
    scene: DemoCluster, pooler: Pooler, others: Sequence[str], cleanup: ExitStack
) -> list[Contender]:
    """Return ourselves in both modes, libpq by itself, and what was named."""
    found = [
        Contender("pgswitch, transaction", scene.through(pooler)),
        Contender("pgswitch, session", scene.through(pooler, SESSION)),
        Contender("libpq, all hosts", scene.directly(*scene.cluster.nodes)),
    ]
    for at, other in enumerate(others):
        name, _, command = other.partition("=")
        port = _start_other(scene, name, command, at, cleanup)
        for mode, database in (("transaction", DATABASE), ("session", SESSION)):
            text = f"host=127.0.0.1 port={port} user=app dbname={database}"
            found.append(Contender(f"{name}, {mode}", _connector(text)))
    return found


def _connector(text: str) -> Callable[[], psycopg.Connection]:
    return lambda: psycopg.connect(text, autocommit=True)


def _start_other(
    scene: DemoCluster, name: str, command: str, at: int, cleanup: ExitStack
) -> int:
    """Start another pooler with our configuration; return its port."""
    place = subdirectory(scene.folder, f"other-{at}", scene.account)
    port = free_port()
    users, file = place / "userlist.txt", place / "pooler.ini"
    users.write_text('"app" ""\n')
    sections = scene.sections()
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
        account=scene.account,
    )
    cleanup.callback(child.stop, signal.SIGINT, signal.SIGTERM)
    child.await_ready(lambda: not is_free(port), MOST_S)
    return port


def _monitoring(pooler: Pooler, seconds: float) -> float:
    """Return the CPU that watching three nodes takes, in per cent of a core."""
    before = _cpu_s(pooler.child.pid)
    time.sleep(seconds)  # noqa: TID251 - a process of its own
    # Two entries watch the cluster, each for itself.
    return (_cpu_s(pooler.child.pid) - before) / seconds * 100 / 2


def _cpu_s(pid: int) -> float:
    text = Path(f"/proc/{pid}/schedstat").read_text()
    return int(text.split()[0]) / 1e9


def _moves(
    scene: DemoCluster, contenders: list[Contender], how: str, count: int
) -> None:
    """Let the writer go so often; everybody writes all the time."""
    # Keys of their own for each kind of move, or rows would seem to be doubled.
    first = 1000 * (1 + list(HOW).index(how))
    oracle = IdealClient(first - 1, scene.directly(scene.cluster.writer))
    crowds = {
        one.name: [
            Writer(first + 10 * at + number, one.connect, pause_s=0.001)
            for number in range(CLIENTS)
        ]
        for at, one in enumerate(contenders)
    }
    everybody = [oracle, *(writer for crowd in crowds.values() for writer in crowd)]
    for writer in everybody:
        writer.start()
    for number in range(count):
        began, until = _one_move(scene, oracle, everybody, how)
        floor = oracle.outage(began, until)
        for one in contenders:
            samples = one.samples[how]
            samples.moves += 1
            gaps = [writer.outage(began, until) for writer in crowds[one.name]]
            samples.recovered += all(
                writer.writes[-1].ended > began and not writer.writes[-1].sqlstate
                for writer in crowds[one.name]
            )
            samples.excess_ms += [(gap.lasted - floor.lasted) * 1000 for gap in gaps]
            samples.behind_ms += [(gap.ended - floor.ended) * 1000 for gap in gaps]
        samples = contenders[0].samples[how]
        print(
            f"{how} {number + 1} of {count}: floor {floor.lasted * 1000:.0f} ms,"
            f" {contenders[0].name} {samples.excess_ms[-1]:+.1f} ms",
            file=sys.stderr,
        )
    for writer in everybody:
        writer.stop()
    there = scene.rows()
    for one in contenders:
        one.samples[how].account = tally_writes(crowds[one.name], there)


def _one_move(
    scene: DemoCluster, oracle: IdealClient, everybody: list[Writer], how: str
) -> tuple[float, float]:
    """Do one; return when it began, and when everybody had written again.

    What comes after that, new standbys with their copies, is no part of it.
    """
    cluster = scene.cluster
    # The oracle has to know; after a crash the other standby may be ahead by a little.
    next_ = cluster.standbys[0]
    oracle.expect(scene.directly(next_))
    time.sleep(BEFORE_S)  # noqa: TID251 - a process of its own
    old, began = cluster.writer, time.monotonic()
    HOW[how](old)
    cluster.promote(next_)
    counts = [writer.acknowledged() for writer in everybody]
    deadline = time.monotonic() + MOST_S
    while time.monotonic() < deadline and any(
        writer.acknowledged() < count + 3
        for writer, count in zip(everybody, counts, strict=True)
    ):
        time.sleep(POLL_S)  # noqa: TID251 - as above
    time.sleep(AFTER_S)  # noqa: TID251 - as above
    until = time.monotonic()
    for node in cluster.standbys:
        # It may have had more of the crashed writer than the new one has.
        if how == CRASH:
            node.kill()
            scene.cluster.rejoin(node, from_copy=True)
    scene.restore(old, how)
    return began, until


def _write(
    options: argparse.Namespace,
    lines: dict[str, Figures],
    contenders: list[Contender],
    cpu: float,
) -> None:
    """Write the files and print the table."""
    words = (
        f"{options.moves} planned moves and {options.moves} crashes,"
        f" {CLIENTS} clients each; monitoring three nodes takes {cpu:.2f} % of a core"
    )
    drawn = chart({one.name: one.samples for one in contenders})
    options.out.mkdir(parents=True, exist_ok=True)
    document = {
        "moves": options.moves,
        "monitoring_cpu_percent": cpu,
        "figures": {name: one.as_dict() for name, one in lines.items()},
        "excess_ms": {
            one.name: {how: one.samples[how].excess_ms for how in HOW}
            for one in contenders
        },
        "behind_ms": {
            one.name: {how: one.samples[how].behind_ms for how in HOW}
            for one in contenders
        },
    }
    (options.out / "switchover.json").write_text(json.dumps(document, indent=1))
    (options.out / "switchover.svg").write_text(drawn)
    print(f"\n{words}\n\n{table(lines)}\n")
    print(f"written: {options.out}/switchover.json, {options.out}/switchover.svg")
    if options.publish:
        section = f"{words}.\n\n{table(lines)}\n\n![outage]({PICTURE})"
        PAGE.write_text(with_moves(PAGE.read_text(), section))
        PAGE.with_name(PICTURE).write_text(drawn)
        print(f"written: {PAGE}, {PAGE.with_name(PICTURE)}")


if __name__ == "__main__":
    sys.exit(main())
