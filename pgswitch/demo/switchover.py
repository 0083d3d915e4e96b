"""``python -m pgswitch.demo.switchover``: a cluster's writer moves while you watch.

Three PostgreSQL nodes, pgswitch before them, clients that write and read; a planned
switchover, then a crash.  At the end the report, and a picture of every write.
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

from pgswitch.demo.child import ChildFailed
from pgswitch.demo.picture import Mark, picture
from pgswitch.demo.pooler import Pooler
from pgswitch.demo.program import run
from pgswitch.demo.scene import HOW, USER, Scene, running_scene, stop_pooler
from pgswitch.demo.writers import Writer, account

WRITERS, READERS = 4, 2
CALM_S = 3.0
"""Between two events."""
FRAME_S = 0.2
BAR = 40
CLEAR, HOME = "\x1b[2J", "\x1b[H"
ERASE_REST = "\x1b[J"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return 0, or 1 when something did not work, which is printed."""
    options = _parse(arguments)
    return run("demo", lambda cleanup: _demo(options, cleanup), interrupted=0)


def _demo(options: argparse.Namespace, cleanup: ExitStack) -> int:
    print("starting three PostgreSQL nodes and pgswitch")
    scene = cleanup.enter_context(running_scene())
    pooler = scene.start_pooler()
    cleanup.callback(stop_pooler, pooler)
    return _show(scene, pooler, options)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pgswitch.demo.switchover",
        description="A writer moves, and clients see latency.",
    )
    parser.add_argument(
        "--once", action="store_true", help="one planned move and one crash, then end"
    )
    parser.add_argument(
        "--calm", type=float, default=CALM_S, help="seconds between two events"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/demo/switchover.svg"),
        help="the picture (default build/demo/switchover.svg)",
    )
    return parser.parse_args(arguments)


class Reader(threading.Thread):
    """Counts rows over and over; what fails is tried again."""

    def __init__(self, connect: Callable[[], psycopg.Connection]) -> None:
        super().__init__(daemon=True)
        self.reads = 0
        self._connect = connect
        self._stopping = threading.Event()

    def run(self) -> None:
        """Read until told to stop."""
        with self._connect() as connection:
            while not self._stopping.wait(0.005):
                try:
                    connection.execute("SELECT count(*) FROM topology")
                    self.reads += 1
                except psycopg.Error:
                    if connection.closed:
                        return

    def stop(self) -> None:
        """End it."""
        self._stopping.set()
        self.join(CALM_S)


def _show(scene: Scene, pooler: Pooler, options: argparse.Namespace) -> int:
    connect = scene.through(pooler)
    writers = [Writer(at + 1, connect, pause_s=0.002) for at in range(WRITERS)]
    readers = [Reader(connect) for _ in range(READERS)]
    screen = Screen(pooler, writers, readers)
    marks: list[Mark] = []
    for thread in (*writers, *readers):
        thread.start()
    try:
        screen.watch(options.calm, "all is well")
        for how in _events(is_endless=not options.once):
            _move(scene, screen, how, marks, options.calm)
    except KeyboardInterrupt:
        print()
    stopped = [writer.stop() for writer in writers]
    for reader in readers:
        reader.stop()
    screen.report()
    seen = account(writers, scene.rows())
    errors = ", ".join(f"{n} x {code}" for code, n in seen.errors.items()) or "none"
    print(
        "\nWhat a crash loses had not reached a standby: replication is asynchronous."
        f"\n{seen.acknowledged} rows acknowledged, {seen.missing} of them missing,"
        f" {seen.doubled} doubled; errors: {errors};"
        f" connections lost: {seen.reconnects}"
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    title = f"Latency of {WRITERS} writing clients through pgswitch, log scale"
    drawn = picture([list(writer.writes) for writer in writers], marks, title)
    options.out.write_text(drawn)
    print(f"each write, and where the moves were: {options.out}")
    return 0 if all(stopped) and not seen.doubled else 1


def _events(*, is_endless: bool) -> Iterator[str]:
    """Yield how the writer goes next."""
    yield from HOW
    while is_endless:
        yield from HOW


def _move(
    scene: Scene, screen: Screen, how: str, marks: list[Mark], calm_s: float
) -> None:
    """Let the writer go; a standby is promoted and the old writer comes back."""
    words = {"planned": "planned switchover", "crash": "the writer crashes"}[how]
    marks.append(Mark(time.monotonic(), words))
    old: list[Any] = []
    work = threading.Thread(
        target=lambda: old.append(scene.cluster.switch(HOW[how])), daemon=True
    )
    work.start()
    screen.watch(calm_s, words)
    work.join()
    if not old:
        raise ChildFailed("the switchover did not come about")
    scene.restore(old[0], how)
    screen.watch(calm_s, "the old writer is back, as a standby")


class Screen:
    """The live view: nodes, roles, and how much is written."""

    def __init__(
        self, pooler: Pooler, writers: list[Writer], readers: list[Reader]
    ) -> None:
        self._url = pooler.url(USER, "", "pgbouncer")
        self._writers = writers
        self._readers = readers
        self._is_terminal = sys.stdout.isatty()
        self._last = (time.monotonic(), 0, 0)
        self._most = 1.0

    def watch(self, seconds: float, words: str) -> None:
        """Show what goes on for so long."""
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
        self._most = max(self._most, rate)
        bar = "#" * round(rate / self._most * BAR)
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
        """Print what SHOW SWITCHOVERS says."""
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


if __name__ == "__main__":
    sys.exit(main())
