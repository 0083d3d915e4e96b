"""``pgswitch demo switchover``: the writer of a cluster moves while you watch.

Three PostgreSQL nodes, pgswitch in front of them, clients that write and read; a
planned switchover, then a crash. It ends with a report and a chart of every write.

The chart is SVG: a sheet, text and lines, and the latency of writes over time.
"""

from __future__ import annotations

import argparse
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import psycopg
from psycopg.rows import dict_row

from pgswitch.demo.cluster import (
    HOW,
    USER,
    DemoCluster,
    running_demo_cluster,
    stop_pooler,
)
from pgswitch.demo.pooler import Pooler
from pgswitch.demo.processes import ChildFailed, run
from pgswitch.demo.writers import Write, Writer, tally_writes

INK, PAPER, GRID = "#1a202c", "#ffffff", "#e2e8f0"


def drawing(width: float, height: float, parts: Sequence[str]) -> str:
    """Return an SVG document of this size in pixels; later parts cover earlier ones."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="{PAPER}"/>\n{body}\n</svg>\n'
    )


def text(
    x: float, y: float, words: str, anchor: str = "middle", colour: str = INK
) -> str:
    """Return a line of text whose ``anchor`` (start, middle or end) is at ``x``."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">'
        f"{escape(words)}</text>"
    )


def line(
    x1: float, y1: float, x2: float, y2: float, colour: str = INK, *, width: int = 1
) -> str:
    """Return a line from one point to another."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        f' stroke="{colour}" stroke-width="{width}"/>'
    )


LEFT, TOP, WIDTH, HEIGHT, BOTTOM, RIGHT = 64, 40, 760, 260, 40, 16
COLOURS = ("#2b6cb0", "#d69e2e", "#2f855a", "#805ad5", "#c05621", "#319795")
MOVE = "#c53030"
FAILED = 'stroke="#c53030"'
FLOOR_MS, TICKS_MS = 0.1, (0.1, 1, 10, 100, 1000, 10_000)
MAX_POINTS = 700
"""For each client; of more writes, the slow ones, the failed ones and some others."""


@dataclass(frozen=True, slots=True)
class Marker:
    """A moment to mark with a line: the start of a switchover or a crash."""

    at: float
    words: str


def latency_chart(
    clients: Sequence[Sequence[Write]], markers: Sequence[Marker], title: str
) -> str:
    """Return the latency of each client's writes; times in seconds of one clock."""
    writes = [write for client in clients for write in client]
    if not writes:
        return _frame(title, [])
    began = min(write.began for write in writes)
    span = max(max(write.ended for write in writes) - began, 0.001)
    longest = max((write.ended - write.began) * 1000 for write in writes)
    top_ms = next((tick for tick in TICKS_MS if tick >= longest), TICKS_MS[-1])

    def x(at: float) -> float:
        return LEFT + (at - began) / span * WIDTH

    def y(latency_ms: float) -> float:
        share = math.log10(max(latency_ms, FLOOR_MS) / FLOOR_MS)
        return TOP + HEIGHT - share / math.log10(top_ms / FLOOR_MS) * HEIGHT

    parts = []
    for tick in (tick for tick in TICKS_MS if tick <= top_ms):
        at = y(tick)
        parts.append(line(LEFT, at, LEFT + WIDTH, at, GRID))
        parts.append(text(LEFT - 6, at + 4, f"{tick:g} ms", "end"))
    parts += [
        text(x(began + second), TOP + HEIGHT + 18, f"{second} s")
        for second in range(0, math.ceil(span), max(1, math.ceil(span / 10)))
    ]
    for event in markers:
        parts.append(line(x(event.at), TOP, x(event.at), TOP + HEIGHT, MOVE))
        parts.append(text(x(event.at) + 4, TOP + 12, event.words, "start", MOVE))
    parts += [
        _dot(
            x(write.ended),
            y((write.ended - write.began) * 1000),
            "" if write.sqlstate else COLOURS[number % len(COLOURS)],
        )
        for number, client in enumerate(clients)
        for write in _worth_drawing(client)
    ]
    return _frame(title, parts)


def _dot(x: float, y: float, colour: str) -> str:
    """Return the mark of a write; without a colour, that of a failed one."""
    look = f'r="1.4" fill="{colour}"' if colour else f'r="4" fill="none" {FAILED}'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" {look}/>'


def _worth_drawing(writes: Sequence[Write]) -> list[Write]:
    """Return every failed write, the slowest ones and a sample of the others."""
    if len(writes) <= MAX_POINTS:
        return list(writes)
    step = math.ceil(len(writes) / MAX_POINTS)
    by_latency = sorted(writes, key=lambda write: write.ended - write.began)
    slow = {write.key for write in by_latency[-MAX_POINTS // 10 :]}
    return [
        write
        for at, write in enumerate(writes)
        if write.sqlstate or write.key in slow or at % step == 0
    ]


def _frame(title: str, parts: list[str]) -> str:
    width, height = LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM
    return drawing(width, height, [text(LEFT, 22, title, "start"), *parts])


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
