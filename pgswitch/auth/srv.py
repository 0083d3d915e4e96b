"""The directories that DNS has for a domain (RFC 2782, ``_ldap._tcp``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.threads import blockingCallFromThread
from twisted.names import client, dns

TIMEOUTS_S = (1, 3)
"""Seconds for the first and the second attempt to ask."""


def finder(reactor: Any) -> Callable[[str], list[tuple[str, int]]]:  # noqa: ANN401 - one object with many interfaces
    """Return what finds host and port of the servers of a domain, the best first.

    To be called in a thread, where it blocks; fails with what the name service says.
    """

    def find(domain: str) -> list[tuple[str, int]]:
        answers, _authority, _more = blockingCallFromThread(
            reactor, client.lookupService, f"_ldap._tcp.{domain}", TIMEOUTS_S
        )
        records = [one.payload for one in answers if one.type == dns.SRV]
        records.sort(key=lambda record: (record.priority, -record.weight))
        return [(record.target.name.decode(), record.port) for record in records]

    return find
