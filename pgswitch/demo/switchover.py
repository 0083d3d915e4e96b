"""``pgswitch demo switchover``: the writer of a cluster moves while you watch.

Three PostgreSQL nodes, pgswitch in front of them, clients that write and read; a
planned switchover, then a crash. It ends with a report and a chart of every write.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from pgswitch.demo.chart import Marker, latency_chart
from pgswitch.demo.cluster import (
    HOW,
    USER,
    DemoCluster,
    running_demo_cluster,
    stop_pooler,
)
from pgswitch.demo.pooler import Pooler
from pgswitch.demo.processes import ChildFailed, run
from pgswitch.demo.writers import Writer, tally_writes

WRITERS, READERS = 4, 2
CALM_S = 3.0
"""Between two events."""
FRAME_S = 0.2
BAR = 40
CLEAR, HOME = "\x1b[2J", "\x1b[H"
ERASE_REST = "\x1b[J"


def main(
    arguments: Sequence[str], program: str = "python -m pgswitch.demo switchover"
) -> int:
    """Run the demo; return 0, or 1 after a failure, which is printed.

    ``program`` is the name that ``--help`` shows.
    """
    options = _parse(arguments, program)
    return run("demo", lambda cleanup: _demo(options, cleanup), interrupted=0)


def _demo(options: argparse.Namespace, cleanup: ExitStack) -> int:
    print("starting three PostgreSQL nodes and pgswitch")
    demo = cleanup.enter_context(running_demo_cluster())
    pooler = demo.start_pooler()
    cleanup.callback(stop_pooler, pooler)
    return _show(demo, pooler, options)


def _parse(arguments: Sequence[str], program: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=program,
        description="The writer moves, and clients only see latency.",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="end after one planned switchover and one crash",
    )
    parser.add_argument(
        "--calm", type=float, default=CALM_S, help="seconds between two events"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("switchover.svg"),
        help="file for the chart (default switchover.svg)",
    )
    return parser.parse_args(arguments)


class Reader(threading.Thread):
    """Counts rows repeatedly; retries what fails."""

    def __init__(self, connect: Callable[[], psycopg.Connection]) -> None:
        super().__init__(daemon=True)
        self.reads = 0
        self._connect = connect
        self._stopping = threading.Event()

    def run(self) -> None:
        """Read until stopped."""
        with self._connect() as connection:
            while not self._stopping.wait(0.005):
                try:
                    connection.execute("SELECT count(*) FROM topology")
                    self.reads += 1
                except psycopg.Error:
                    if connection.closed:
                        return

    def stop(self) -> None:
        """Stop it."""
        self._stopping.set()
        self.join(CALM_S)


def _show(demo: DemoCluster, pooler: Pooler, options: argparse.Namespace) -> int:
    connect = demo.through(pooler)
    writers = [Writer(at + 1, connect, pause_s=0.002) for at in range(WRITERS)]
    readers = [Reader(connect) for _ in range(READERS)]
    screen = Screen(pooler, writers, readers)
    markers: list[Marker] = []
    for thread in (*writers, *readers):
        thread.start()
    try:
        screen.watch(options.calm, "normal operation")
        for how in _events(is_endless=not options.once):
            _move(demo, screen, how, markers, options.calm)
    except KeyboardInterrupt:
        print()
    stopped = [writer.stop() for writer in writers]
    for reader in readers:
        reader.stop()
    screen.report()
    seen = tally_writes(writers, demo.rows())
    errors = ", ".join(f"{n} x {code}" for code, n in seen.errors.items()) or "none"
    print(
        "\nWhat a crash loses had not reached a standby: replication is asynchronous."
        f"\n{seen.acknowledged} rows acknowledged, {seen.missing} of them missing,"
        f" {seen.doubled} doubled; errors: {errors};"
        f" connections lost: {seen.reconnects}"
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    title = f"Latency of {WRITERS} writing clients through pgswitch, log scale"
    drawn = latency_chart([list(writer.writes) for writer in writers], markers, title)
    options.out.write_text(drawn)
    print(f"chart of all writes: {options.out}")
    return 0 if all(stopped) and not seen.doubled else 1


def _events(*, is_endless: bool) -> Iterator[str]:
    """Yield the next way to stop the writer."""
    yield from HOW
    while is_endless:
        yield from HOW


def _move(
    demo: DemoCluster, screen: Screen, how: str, markers: list[Marker], calm_s: float
) -> None:
    """Stop the writer, promote a standby, and bring the old writer back."""
    words = {"planned": "planned switchover", "crash": "the writer crashes"}[how]
    markers.append(Marker(time.monotonic(), words))
    old: list[Any] = []
    work = threading.Thread(
        target=lambda: old.append(demo.cluster.switch(HOW[how])), daemon=True
    )
    work.start()
    screen.watch(calm_s, words)
    work.join()
    if not old:
        raise ChildFailed("the switchover failed")
    demo.restore(old[0], how)
    screen.watch(calm_s, "the old writer is back as a standby")


class Screen:
    """The live view: nodes, their roles, writes and reads per second."""

    def __init__(
        self, pooler: Pooler, writers: list[Writer], readers: list[Reader]
    ) -> None:
        self._url = pooler.url(USER, "", "pgbouncer")
        self._writers = writers
        self._readers = readers
        self._is_terminal = sys.stdout.isatty()
        self._last = (time.monotonic(), 0, 0)
        self._max_rate = 1.0

    def watch(self, seconds: float, words: str) -> None:
        """Refresh the view for ``seconds``, under a heading."""
        if self._is_terminal:
            sys.stdout.write(CLEAR)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(FRAME_S)  # noqa: TID251 - a process of its own
            if self._is_terminal:
                self._draw(words)
        if not self._is_terminal:
            self._draw(words)

    def _draw(self, words: str) -> None:
        now = time.monotonic()
        writes = sum(writer.acknowledged() for writer in self._writers)
        reads = sum(reader.reads for reader in self._readers)
        then, writes_then, reads_then = self._last
        self._last = now, writes, reads
        span = max(now - then, 0.001)
        rate = (writes - writes_then) / span
        self._max_rate = max(self._max_rate, rate)
        bar = "#" * round(rate / self._max_rate * BAR)
        lines = [
            f"pgswitch: {words}",
            "",
            *(
                f"  {row['node']:<18} {row['role']:<8} {row['state']:<12}"
                f" timeline {row['timeline'] or '-':<4} {row['why']}"[:78]
                for row in self._rows("SHOW TOPOLOGY")
                if row["database"] == "bench"
            ),
            "",
            f"  writes/s {rate:7.0f} {bar}",
            f"  reads/s  {(reads - reads_then) / span:7.0f}",
            "",
        ]
        start, end = (HOME, ERASE_REST) if self._is_terminal else ("", "")
        eol = "\x1b[K\n" if self._is_terminal else "\n"
        sys.stdout.write(start + eol.join(lines) + end)
        sys.stdout.flush()

    def report(self) -> None:
        """Print the answer to SHOW SWITCHOVERS."""
        print("\nSHOW SWITCHOVERS")
        for row in self._rows("SHOW SWITCHOVERS"):
            if row["database"] != "bench":
                continue
            for name, value in row.items():
                if value not in (None, ""):
                    print(f"  {name:<16} {value}")
            print()

    def _rows(self, command: str) -> list[dict[str, Any]]:
        with psycopg.connect(
            self._url, autocommit=True, row_factory=dict_row
        ) as connection:
            return connection.execute(command.encode()).fetchall()
