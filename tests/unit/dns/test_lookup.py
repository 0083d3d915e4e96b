"""Both ways to look a name up; the system and the name servers are made up."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.names import dns
from twisted.names.error import DNSNameError, DNSServerError
from twisted.python.failure import Failure

from pgswitch.dns import lookup
from pgswitch.dns.lookup import (
    DnsLookup,
    LookupFailed,
    SystemLookup,
    addresses_of,
)
from tests.unit.captured import NotingReactor
from tests.waiting import wait_until

FIRST, SECOND = "10.0.0.1", "2001:db8::2"


def resolved(monkeypatch: pytest.MonkeyPatch, outcome: object) -> None:
    """Have getaddrinfo end in one way."""

    def getaddrinfo(name: str, port: None, **_more: object) -> object:
        assert port is None
        if isinstance(outcome, Exception):
            raise outcome
        return [(0, 1, 6, name, (address, 0)) for address in (FIRST, SECOND, FIRST)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the system's order, each address once."""
    resolved(monkeypatch, None)
    assert addresses_of("db") == (FIRST, SECOND)


@pytest.mark.parametrize(
    ("error", "result", "is_certain"),
    [
        (socket.gaierror(socket.EAI_NONAME, "x"), socket.EAI_NONAME, True),
        (socket.gaierror(socket.EAI_AGAIN, "x"), socket.EAI_AGAIN, False),
        (UnicodeError("label too long"), socket.EAI_NONAME, True),
    ],
)
def test_failures_of_the_system(
    monkeypatch: pytest.MonkeyPatch, error: Exception, result: int, *, is_certain: bool
) -> None:
    """Only some are certain: the name service may be out of reach."""
    resolved(monkeypatch, error)
    with pytest.raises(LookupFailed) as caught:
        addresses_of("db")
    assert (caught.value.result, caught.value.is_certain) == (result, is_certain)
    assert str(caught.value) == f"db: result={result}"


def test_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer comes back to the reactor's thread."""
    resolved(monkeypatch, None)
    reactor = NotingReactor()
    look_up = SystemLookup(reactor)
    found: list[object] = []
    look_up("db").addCallback(found.append)
    wait_until(lambda: bool(reactor.from_threads), "the thread's answer")
    assert found == []
    reactor.from_threads.pop()()
    assert found == [(FIRST, SECOND)]
    look_up.stop()


def test_stopping_unused() -> None:
    """There is no thread to end."""
    SystemLookup(NotingReactor()).stop()


Answers = dict[str, Any]


class FakeResolver:
    """Stands for twisted.names.client.Resolver."""

    made: list[dict[str, Any]]
    answers: Answers

    def __init__(self, **given: Any) -> None:  # noqa: ANN401 - what it is given
        """Note the servers."""
        self.made.append(given)

    def _answer(self, name: str, kind: int) -> Deferred[Any]:
        answer = self.answers.get(name, DNSNameError())
        if isinstance(answer, Exception):
            return fail(answer)
        records = [
            dns.RRHeader(name.encode(), type=one.TYPE, payload=one) for one in answer
        ]
        wanted = (kind, dns.CNAME)
        return succeed(([one for one in records if one.type in wanted], [], []))

    def lookupAddress(self, name: str) -> Deferred[Any]:
        """Answer for A."""
        return self._answer(name, dns.A)

    def lookupIPV6Address(self, name: str) -> Deferred[Any]:
        """Answer for AAAA."""
        return self._answer(name, dns.AAAA)

    def lookupAuthority(self, name: str) -> Deferred[Any]:
        """Answer for SOA."""
        return self._answer(name, dns.SOA)


DnsOf = Callable[[Answers], DnsLookup]


@pytest.fixture
def dns_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DnsOf:
    """Return a function that makes a DnsLookup over made-up answers."""
    hosts = tmp_path / "hosts"
    hosts.write_text("10.9.9.9 written written.example\n::9 written\n")
    monkeypatch.setattr(lookup, "HOSTS", str(hosts))
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 127.0.0.1:5353\nsearch example\n")

    def make(answers: Answers) -> DnsLookup:
        FakeResolver.made = []
        FakeResolver.answers = answers
        monkeypatch.setattr("twisted.names.client.Resolver", FakeResolver)
        return DnsLookup(NotingReactor(), str(conf))

    return make


def outcome(asked: Deferred[Any]) -> Any:  # noqa: ANN401 - result or exception
    """Return what came of a question that is answered by now."""
    results: list[Any] = []
    asked.addBoth(results.append)
    (result,) = results
    return result.value if isinstance(result, Failure) else result


def test_hosts_first(dns_of: DnsOf) -> None:
    """What /etc/hosts has is not asked for."""
    assert outcome(dns_of({})("written")) == ("10.9.9.9", "::9")
    assert FakeResolver.made == []


def test_name_servers(dns_of: DnsOf) -> None:
    """A and AAAA records, past aliases; servers and times are those of the file."""
    records = [
        dns.Record_CNAME("other.example"),
        dns.Record_A(FIRST),
        dns.Record_AAAA(SECOND),
    ]
    assert outcome(dns_of({"db.x": records})("db.x")) == (FIRST, SECOND)
    (given,) = FakeResolver.made
    assert given["servers"] == [("127.0.0.1", 5353)]
    assert given["timeout"] == (5, 5)


def test_search(dns_of: DnsOf) -> None:
    """A short name is completed."""
    assert outcome(dns_of({"db.example": [dns.Record_A(FIRST)]})("db")) == (FIRST,)


@pytest.mark.parametrize(
    ("answers", "result", "is_certain"),
    [
        ({}, 3, True),
        ({"db.example": []}, 3, True),
        ({"db.example": DNSServerError()}, 2, False),
    ],
)
def test_failures_of_name_servers(
    dns_of: DnsOf, answers: Answers, result: int, *, is_certain: bool
) -> None:
    """No such name, no address, no answer."""
    failed = outcome(dns_of(answers)("db"))
    assert (failed.result, failed.is_certain) == (result, is_certain)


def test_a_name_that_cannot_be_written(dns_of: DnsOf) -> None:
    """It does not exist."""
    assert outcome(dns_of({})("\N{SNOWMAN}" * 70)).is_certain
    assert outcome(
        dns_of({"xn--bcher-kva.example": [dns.Record_A(FIRST)]})("bücher.example")
    ) == (FIRST,)


def test_a_missing_file(dns_of: DnsOf, tmp_path: Path) -> None:
    """Then the local name server is asked, as resolv.conf(5) has it."""
    dns_of({})
    outcome(DnsLookup(NotingReactor(), str(tmp_path / "none"))("db"))
    assert FakeResolver.made[0]["servers"] == [("127.0.0.1", 53)]


def test_serial_numbers(dns_of: DnsOf) -> None:
    """Of a zone; anything else than an SOA record is a failure."""
    soa = dns.Record_SOA(b"ns.example", b"root.example", serial=77)
    assert outcome(dns_of({"example": [soa]}).serial("example")) == 77
    assert isinstance(outcome(dns_of({"example": []}).serial("example")), LookupFailed)
    assert isinstance(outcome(dns_of({}).serial("example")), DNSNameError)
