"""The order of rounds, and what happens to loads that cannot be done."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from types import SimpleNamespace
from typing import cast

import pytest

from bench import race as module
from bench.contenders import Contender
from bench.loads import Figures, Load
from bench.programs import LoadFailed
from bench.progress import Progress
from bench.race import FAILED, Race
from bench.stage import Stage

ROW = "simple query, CPU"


class Racer:
    """A contender that only counts as running; ``lacks`` as in the real one."""

    pid = port = 0

    def __init__(self, name: str, lacks: Mapping[str, str] | None = None) -> None:
        self.name, self.lacks = name, lacks or {}

    def start(self, *_where: object) -> float:
        """Be up at once."""
        return 0.5


class Track:
    """A race of made-up contenders on a load that writes down who ran."""

    def __init__(self, racers: list[Racer], failing: str = "") -> None:
        self.ran: list[str] = []
        self.out = StringIO()
        programs = SimpleNamespace(pgbench=lambda *_options: 1)
        stage = SimpleNamespace(
            programs=programs,
            directory=None,
            account=None,
            server=SimpleNamespace(port=1),
        )

        def run(racer: Contender) -> Figures:
            self.ran.append(racer.name)
            if racer.name == failing:
                raise LoadFailed("it broke")
            return {ROW: 10.0}

        self.load = Load("load", "load", (ROW,), run)
        self.race = Race(
            cast("Stage", stage),
            [cast("Contender", racer) for racer in racers],
            Progress(10, self.out),
        )

    def rounds(self, count: int, limit_s: float = 60.0) -> int:
        """Run rounds of the load alone."""
        return self.race.run_loads([self.load], count, limit_s)


@pytest.fixture(autouse=True)
def _at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up processes need no time to settle."""
    monkeypatch.setattr(module, "wait_until_idle", lambda _pid: None)


def test_rounds_are_interleaved() -> None:
    """A B A B, not A A B B."""
    track = Track([Racer("a"), Racer("b")])
    assert track.rounds(2) == 2
    assert track.ran == ["a", "b", "a", "b"]
    assert dict(track.race.samples.of(ROW, "b")) == {0: 10.0, 1: 10.0}


def test_what_a_contender_lacks_is_not_tried() -> None:
    """Its reason stands in the samples, and nothing failed."""
    track = Track([Racer("a", {"load": "too old"}), Racer("b")])
    track.rounds(2)
    assert track.ran == ["b", "b"]
    assert track.race.samples.why_not(ROW, "a") == "too old"
    assert track.race.failures == []


def test_a_failed_load_is_told_and_not_repeated() -> None:
    """The others go on."""
    track = Track([Racer("a"), Racer("b")], failing="a")
    track.rounds(2)
    assert track.ran == ["a", "b", "b"]
    assert track.race.failures == ["a, load: it broke"]
    assert track.race.samples.why_not(ROW, "a") == FAILED
    assert "it broke" in track.out.getvalue()


def test_time_is_up() -> None:
    """There is one round at least, and none that would end too late."""
    track = Track([Racer("a")])
    assert track.rounds(3, limit_s=0.0) == 1
    assert track.ran == ["a"]
