"""The order of rounds, workloads that cannot be run, and the progress bar."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from types import SimpleNamespace
from typing import cast

import pytest

from bench import runner as module
from bench.environment import Environment, WorkloadFailed
from bench.poolers import ComparedPooler
from bench.runner import BAR_CHARS, FAILED, MAX_PLAIN_LINES, Progress, Runner
from bench.workloads import Figures, Workload


class Terminal(StringIO):
    """A text stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def test_bar() -> None:
    """It is redrawn in place, and full at the end."""
    out = Terminal()
    progress = Progress(2, out)
    for what in ("one", "two"):
        progress.step(what)
    progress.end()
    first, second, last = out.getvalue().lstrip("\r").split("\r")
    assert first.startswith(f"[{'.' * BAR_CHARS}] 0/2 one")
    assert second.startswith(f"[{'#' * 15}{'.' * 15}] 1/2 two")
    assert last.startswith(f"[{'#' * BAR_CHARS}] 2/2 done")
    assert last.endswith("\n")


@pytest.mark.parametrize("total", [1, 20, 21, 100, 999])
def test_plain_lines(total: int) -> None:
    """A file gets few lines, however long the run."""
    out = StringIO()
    progress = Progress(total, out)
    for number in range(total):
        progress.step(f"step {number}")
    progress.end()
    lines = out.getvalue().splitlines()
    assert lines[0] == f"0/{total} step 0"
    assert lines[-1] == f"{total}/{total} done"
    assert len(lines) <= MAX_PLAIN_LINES + 1
    assert "\r" not in out.getvalue()


def test_a_line_of_its_own_clears_the_bar() -> None:
    """What is said stands alone on its line."""
    out = Terminal()
    progress = Progress(2, out)
    progress.step("one")
    progress.say("a failure")
    assert out.getvalue().endswith(" \ra failure\n")


METRIC = "simple query, CPU"


class FakePooler:
    """A pooler that only seems to run; ``lacks`` as in the real one."""

    pid = port = 0

    def __init__(self, name: str, lacks: Mapping[str, str] | None = None) -> None:
        self.name, self.lacks = name, lacks or {}

    def start(self, *_where: object) -> float:
        """Be up at once."""
        return 0.5


class FakeRun:
    """A run of fake poolers with a workload that records who ran."""

    def __init__(self, poolers: list[FakePooler], failing: str = "") -> None:
        self.ran: list[str] = []
        self.out = StringIO()
        programs = SimpleNamespace(pgbench=lambda *_options: 1)
        environment = SimpleNamespace(
            programs=programs,
            directory=None,
            account=None,
            server=SimpleNamespace(port=1),
        )

        def run(pooler: ComparedPooler) -> Figures:
            self.ran.append(pooler.name)
            if pooler.name == failing:
                raise WorkloadFailed("it broke")
            return {METRIC: 10.0}

        self.workload = Workload("word", "name", (METRIC,), run)
        self.runner = Runner(
            cast("Environment", environment),
            [cast("ComparedPooler", pooler) for pooler in poolers],
            Progress(10, self.out),
        )

    def rounds(self, count: int, limit_s: float = 60.0) -> int:
        """Run rounds of the workload."""
        return self.runner.run_workloads([self.workload], count, limit_s)


@pytest.fixture(autouse=True)
def _idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake processes are idle at once."""
    monkeypatch.setattr(module, "wait_until_idle", lambda _pid: None)


def test_rounds_are_interleaved() -> None:
    """A B A B, not A A B B."""
    fake_run = FakeRun([FakePooler("a"), FakePooler("b")])
    assert fake_run.rounds(2) == 2
    assert fake_run.ran == ["a", "b", "a", "b"]
    assert dict(fake_run.runner.samples.of(METRIC, "b")) == {0: 10.0, 1: 10.0}


def test_what_a_pooler_lacks_is_not_tried() -> None:
    """Its reason stands in the samples, and nothing failed."""
    fake_run = FakeRun([FakePooler("a", {"name": "too old"}), FakePooler("b")])
    fake_run.rounds(2)
    assert fake_run.ran == ["b", "b"]
    assert fake_run.runner.samples.reason_left_out(METRIC, "a") == "too old"
    assert fake_run.runner.failures == []


def test_a_failed_workload_is_reported_and_not_repeated() -> None:
    """The others go on."""
    fake_run = FakeRun([FakePooler("a"), FakePooler("b")], failing="a")
    fake_run.rounds(2)
    assert fake_run.ran == ["a", "b", "b"]
    assert fake_run.runner.failures == ["a, name: it broke"]
    assert fake_run.runner.samples.reason_left_out(METRIC, "a") == FAILED
    assert "it broke" in fake_run.out.getvalue()


def test_time_is_up() -> None:
    """There is one round at least, and none that would end too late."""
    fake_run = FakeRun([FakePooler("a")])
    assert fake_run.rounds(3, limit_s=0.0) == 1
    assert fake_run.ran == ["a"]
