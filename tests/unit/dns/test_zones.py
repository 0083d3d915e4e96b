"""Zones: when their serial numbers are asked for, and what a new one does."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from pgswitch.dns.resolver import Zones, zone_of
from tests.unit.captured import CapturedLog

PERIOD = 10


class Scene:
    """Zones whose serial numbers the test answers for."""

    def __init__(self) -> None:
        """Watch two zones."""
        self.asked: list[tuple[str, Deferred[int]]] = []
        self.changed: list[str] = []
        self.captured = CapturedLog()
        self.zones = Zones(self.ask, self.changed.append, self.captured.log)
        for name in ("db1.b.example", "db2.b.example", "db.a.example", "localhost"):
            self.zones.note(name)

    def ask(self, zone: str) -> Deferred[int]:
        """Note a question."""
        self.asked.append((zone, Deferred()))
        return self.asked[-1][1]

    def answer(self, serial: int | Exception) -> str:
        """Answer the oldest question; return its zone."""
        zone, question = self.asked.pop(0)
        if isinstance(serial, int):
            question.callback(serial)
        else:
            question.errback(serial)
        return zone

    def round(self, now: float, *serials: int | Exception) -> list[str]:
        """Let a round be due; answer all its questions."""
        self.zones.sweep(now, PERIOD)
        return [self.answer(serial) for serial in serials]


def test_zone_of() -> None:
    """What follows the first dot."""
    assert zone_of("db.b.example") == "b.example"
    assert zone_of("localhost") == ""


def test_one_after_the_other() -> None:
    """The next zone is queried when the last has answered, whatever the answer."""
    scene = Scene()
    scene.zones.sweep(0, PERIOD)
    assert [zone for zone, _ in scene.asked] == ["a.example"]
    scene.answer(OSError("no answer"))
    assert [zone for zone, _ in scene.asked] == ["b.example"]
    scene.answer(5)
    assert scene.asked == []
    assert list(scene.zones.rows()) == [("a.example", 0, 1), ("b.example", 5, 2)]
    assert len(scene.zones) == 2


def test_when() -> None:
    """Once each period, not while a round is under way, never for 0."""
    scene = Scene()
    scene.zones.sweep(0, 0)
    assert scene.asked == []
    scene.zones.sweep(0, PERIOD)
    scene.zones.sweep(3 * PERIOD, PERIOD)
    assert len(scene.asked) == 1
    assert [scene.answer(1), scene.answer(1)] == ["a.example", "b.example"]
    scene.zones.sweep(PERIOD - 1, PERIOD)
    assert scene.asked == []
    scene.zones.sweep(PERIOD, PERIOD)
    assert len(scene.asked) == 1


def test_a_new_number() -> None:
    """The names of the zone are looked up; the log tells."""
    scene = Scene()
    scene.round(0, 1, 7)
    assert scene.changed == []
    scene.round(PERIOD, 1, 8)
    assert scene.changed == ["db1.b.example", "db2.b.example"]
    assert scene.captured.lines == ["LOG zone 'b.example' serial changed: old=7 new=8"]
    scene.round(2 * PERIOD, 1, 8)
    scene.round(3 * PERIOD, 1, 6)
    assert len(scene.changed) == 2


def test_past_the_highest_number() -> None:
    """Serial numbers begin again at 0 (RFC 1982)."""
    scene = Scene()
    scene.round(0, 2**32 - 1, 1)
    scene.round(PERIOD, 3, 1)
    assert scene.changed == ["db.a.example"]
