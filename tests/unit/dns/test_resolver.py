"""Addresses of hosts: looked up once, cached, and given to all who wait."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import DNSLookupError

from pgswitch.dns.cache import Addresses
from pgswitch.dns.lookup import LookupFailed
from pgswitch.dns.resolver import Resolver
from tests.unit.captured import CapturedLog

TTL, FAILURE_TTL = 15.0, 4.0
BOTH = ("10.0.0.1", "10.0.0.2")


class Scene:
    """Names whose lookups the test answers, and a clock set by hand."""

    def __init__(self) -> None:
        """Know nothing."""
        self.now = 100.0
        self.asked: list[tuple[str, Deferred[Addresses]]] = []
        self.serials: list[Deferred[int]] = []
        self.moved: list[tuple[str, frozenset[str]]] = []
        self.captured = CapturedLog()
        self.settings = SimpleNamespace(
            dns_max_ttl=TTL, dns_nxdomain_ttl=FAILURE_TTL, dns_zone_check_period=0.0
        )
        self.names = Resolver(
            self.look_up,
            self.serial_of,
            settings=lambda: self.settings,
            clock=lambda: self.now,
            log=self.captured.log,
            moved=lambda *what: self.moved.append(what),
        )

    def look_up(self, name: str) -> Deferred[Addresses]:
        """Note a question."""
        self.asked.append((name, Deferred()))
        return self.asked[-1][1]

    def serial_of(self, zone: str) -> Deferred[int]:
        """Note a question about a zone."""
        del zone
        self.serials.append(Deferred())
        return self.serials[-1]

    def want(self, host: str = "db.example") -> list[object]:
        """Ask for a host; the answer will be in the list returned."""
        answers: list[object] = []
        self.names.addresses(host).addCallbacks(
            answers.append, lambda failure: answers.append(failure.type)
        )
        return answers

    def answer(self, result: Addresses | Exception) -> None:
        """Answer the oldest question."""
        _name, question = self.asked.pop(0)
        if isinstance(result, Exception):
            question.errback(result)
        else:
            question.callback(result)


@pytest.fixture
def scene() -> Scene:
    """Return names that have not been looked up."""
    return Scene()


@pytest.mark.parametrize("host", ["10.1.2.3", "::1", "fe80::1%eth0"])
def test_an_address(scene: Scene, host: str) -> None:
    """It is its own address, and no name."""
    assert scene.want(host) == [(host,)]
    assert scene.asked == []
    assert scene.names.counts() == (0, 0, 0)


def test_asked_once(scene: Scene) -> None:
    """Who wants a name that is being looked up waits too; addresses take turns."""
    first, second = scene.want(), scene.want()
    assert [name for name, _ in scene.asked] == ["db.example"]
    assert scene.names.counts() == (0, 1, 1)
    scene.answer(BOTH)
    assert (first, second) == ([BOTH], [BOTH[::-1]])
    assert scene.want() == [BOTH]
    assert scene.names.counts() == (1, 1, 0)


def test_kept(scene: Scene) -> None:
    """The address is cached for dns_max_ttl; the next request looks it up again."""
    scene.want()
    scene.answer(BOTH)
    scene.now += TTL - 1
    assert scene.want() == [BOTH[::-1]]
    assert list(scene.names.hosts()) == [("db.example", 1.0, BOTH)]
    scene.now += 1
    assert scene.want() == []
    assert len(scene.asked) == 1


def test_kept_for_no_time(scene: Scene) -> None:
    """With dns_max_ttl 0 each connection asks."""
    scene.settings.dns_max_ttl = 0.0
    wanted = scene.want()
    scene.answer(BOTH)
    assert wanted == [BOTH]
    assert scene.want() == []


def test_a_failure(scene: Scene) -> None:
    """It is logged and cached for dns_nxdomain_ttl."""
    wanted = scene.want()
    scene.answer(LookupFailed("db.example", -2, is_certain=True))
    assert wanted == [DNSLookupError]
    assert scene.captured.lines == ["WARNING DNS lookup failed: db.example: result=-2"]
    assert scene.want() == [DNSLookupError]
    scene.now += FAILURE_TTL
    assert scene.want() == []


def test_a_silent_name_service(scene: Scene) -> None:
    """The addresses known are used on, and no server is closed."""
    scene.want()
    scene.answer(BOTH)
    scene.now += TTL
    wanted = scene.want()
    scene.answer(LookupFailed("db.example", -3, is_certain=False))
    assert wanted == [BOTH[::-1]]
    assert scene.moved == []


def test_an_unforeseen_failure(scene: Scene) -> None:
    """It ends as a failed lookup, and the log has it."""
    wanted = scene.want()
    scene.answer(ZeroDivisionError("x"))
    assert wanted == [DNSLookupError]
    assert "ZeroDivisionError('x')" in scene.captured.lines[0]


def test_an_address_that_has_gone(scene: Scene) -> None:
    """The pools that hold servers there are notified."""
    scene.want()
    scene.answer(BOTH)
    scene.now += TTL
    scene.want()
    scene.answer(("10.0.0.2", "10.0.0.3"))
    assert scene.moved == [("db.example", frozenset({"10.0.0.1"}))]


def test_giving_up(scene: Scene) -> None:
    """The other requests still get the answer, and so do later ones."""
    cancelled = scene.names.addresses("db.example")
    failures: list[object] = []
    cancelled.addErrback(lambda failure: failures.append(failure.type))
    cancelled.cancel()
    assert failures == [CancelledError]
    waiting = scene.want()
    assert len(scene.asked) == 1
    scene.answer(BOTH)
    assert waiting == [BOTH]


def test_giving_up_because_of_the_answer(scene: Scene) -> None:
    """The first callback may cancel another one."""
    first = scene.names.addresses("db.example")
    second = scene.names.addresses("db.example")
    second.addErrback(lambda _failure: None)
    first.addCallback(lambda _addresses: second.cancel())
    scene.answer(BOTH)
    assert scene.names.counts()[2] == 0


def test_a_zone_that_changes(scene: Scene) -> None:
    """Its names are looked up at once, and the pools are notified."""
    scene.want()
    scene.answer(BOTH)
    scene.settings.dns_zone_check_period = 5.0
    for serial in (1, 2):
        scene.now += 5
        scene.names.sweep(scene.now)
        scene.serials.pop().callback(serial)
    assert list(scene.names.zones()) == [("example", 2, 1)]
    scene.answer(("10.0.0.9",))
    assert scene.moved == [("db.example", frozenset(BOTH))]
    assert scene.want() == [("10.0.0.9",)]


def test_pools_with_servers_are_notified_first(scene: Scene) -> None:
    """No connection goes to a new address before the pools know about it."""
    scene.want()
    scene.answer(("10.0.0.1",))
    scene.now += TTL
    waiting = scene.want()
    seen: list[list[object]] = []
    scene.names._moved = lambda *_what: seen.append([*waiting])
    scene.answer(("10.0.0.2",))
    assert seen == [[]]
    assert waiting == [("10.0.0.2",)]


def test_names_that_are_kept(scene: Scene) -> None:
    """Expired names are looked up again without a request."""
    scene.want()
    scene.answer(("10.0.0.1",))
    scene.names.permanent_names = lambda: ["db.example", "10.0.0.9", "never.asked"]
    scene.names.sweep(scene.now)
    assert scene.asked == []
    scene.now += TTL
    scene.names.sweep(scene.now)
    scene.names.sweep(scene.now)
    assert [name for name, _question in scene.asked] == ["db.example"]
    scene.answer(("10.0.0.2",))
    assert scene.moved == [("db.example", frozenset({"10.0.0.1"}))]
    scene.settings.dns_max_ttl = 0.0
    scene.now += TTL
    for _ in range(6):
        scene.names.sweep(scene.now)
        if scene.asked:
            scene.answer(("10.0.0.2",))
        scene.now += 0.34
    renewed = scene.captured.lines, scene.asked
    assert renewed == ([], [])


def test_one_address_of_several(scene: Scene) -> None:
    """All use the pinned one, until it is gone or fails."""
    scene.names.pin("db.example", "10.0.0.1")
    scene.want()
    scene.answer(BOTH)
    scene.names.pin("db.example", "10.0.0.9")
    assert {answer for _ in range(2) for answer in scene.want()} == {BOTH, BOTH[::-1]}
    scene.names.pin("db.example", "10.0.0.2")
    assert [scene.want() for _ in range(3)] == [[("10.0.0.2",)]] * 3
    scene.names.pin("db.example", "10.0.0.1")
    assert scene.want() == [("10.0.0.2",)]
    scene.names.unpin("db.example")
    assert len(set(map(str, (scene.want() for _ in range(2))))) == 2
    scene.names.pin("db.example", "10.0.0.2")
    scene.now += TTL
    wanted = scene.want()
    scene.answer(("10.0.0.1", "10.0.0.3"))
    (addresses,) = wanted
    assert isinstance(addresses, tuple)
    assert set(addresses) == {"10.0.0.1", "10.0.0.3"}


def test_addresses_as_they_are_written(scene: Scene) -> None:
    """The same one may be written otherwise where it was connected to."""
    scene.want()
    scene.answer(("::0:1", "fe80::2%eth0"))
    scene.names.pin("db.example", "::1")
    assert scene.want() == [("::0:1",)]
    scene.names.unpin("db.example")
    scene.names.pin("db.example", "fe80::2%3")
    assert scene.want() == [("fe80::2%eth0",)]
