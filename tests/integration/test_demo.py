"""``make demo`` as a newcomer meets it, without the making of the environment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgswitch.demo.processes import PrivateDirectory, account_for_children
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]


class Demo:
    """A running demo whose output is kept and whose files lie in ``temporary``."""

    def __init__(self, temporary: Path, *arguments: str) -> None:
        self.temporary = temporary
        self._output_path = temporary / "output"
        with self._output_path.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pgswitch.demo", *arguments],
                cwd=ROOT,
                env={**os.environ, "TMPDIR": str(temporary)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        """All that was printed so far."""
        return self._output_path.read_text()

    def urls(self) -> list[str]:
        """Return the connection strings that were printed."""
        return re.findall(r"postgresql://\S+", self.output)

    def wait(self) -> int:
        """Wait for the end; return the exit code."""
        return self.process.wait(30)

    def has_left_nothing(self) -> bool:
        """Tell whether neither a file nor a process is left that knows our folder."""
        if [path.name for path in self.temporary.iterdir()] != ["output"]:
            return False
        for command_line in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if os.fsencode(self.temporary) in command_line.read_bytes():
                    return False
            except OSError:
                continue  # it ended while we looked
        return True


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Yield a folder for the demo's files that the children's account may enter."""
    folder = PrivateDirectory(account_for_children())
    yield folder.path
    folder.remove()


def test_once_ends_by_itself(temporary: Path) -> None:
    """The demo shows its table, ends with 0 and cleans up."""
    demo = Demo(temporary, "--once", "--seconds=6")
    assert demo.wait() == 0, demo.output
    assert len(demo.urls()) == 2
    line = r"^ +\d+ +24 +\d+ +[1-6] +\d+ +(\d+)$"
    rates = re.findall(line, demo.output, re.MULTILINE)
    assert len(rates) == 6, demo.output
    assert int(rates[-1]) > 0
    assert re.search(r"of 24 clients over [1-6] connections", demo.output)
    assert demo.has_left_nothing(), demo.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(temporary: Path, number: signal.Signals) -> None:
    """Until Ctrl-C the connection strings work; then all is cleaned up."""
    demo = Demo(temporary, "--seconds=1")
    wait_until(lambda: "still serving" in demo.output, "the workload's end", 30)
    for url, statement in zip(demo.urls(), ("SELECT 1", "SHOW VERSION"), strict=True):
        with psycopg.connect(url, autocommit=True) as connection:
            assert connection.execute(statement.encode()).fetchone() is not None
    demo.process.send_signal(number)
    assert demo.wait() == 0, demo.output
    assert demo.has_left_nothing(), demo.output


def test_a_signal_during_the_workload_ends_it(temporary: Path) -> None:
    """Active clients do not delay the end."""
    demo = Demo(temporary, "--seconds=30")
    wait_until(lambda: "transactions/s" in demo.output, "the table", 30)
    demo.process.send_signal(signal.SIGINT)
    assert demo.wait() == 0, demo.output
    assert demo.has_left_nothing(), demo.output
