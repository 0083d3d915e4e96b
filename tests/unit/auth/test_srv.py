"""Directories that DNS has."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.names import client, dns

from pgswitch.auth import srv


def test_the_best_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """By priority, then by weight; other records are not looked at."""
    asked: list[str] = []
    answers = [
        dns.RRHeader("x", dns.SRV, payload=dns.Record_SRV(priority, weight, 389, host))
        for priority, weight, host in ((9, 0, b"c"), (1, 1, b"b"), (1, 5, b"a"))
    ]
    answers.append(dns.RRHeader("x", dns.A, payload=dns.Record_A("192.0.2.1")))

    def look_up(name: str, _timeouts: object) -> Deferred[object]:
        asked.append(name)
        return succeed((answers, [], []))

    monkeypatch.setattr(client, "lookupService", look_up)
    monkeypatch.setattr(
        srv, "blockingCallFromThread", lambda _, call, *args: call(*args).result
    )
    found = srv.finder(None)("example.net")
    assert found == [("a", 389), ("b", 389), ("c", 389)]
    assert asked == ["_ldap._tcp.example.net"]
