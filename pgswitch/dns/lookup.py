"""Two ways to look up a host name; neither blocks the reactor.

* The system's ``getaddrinfo``, in threads of our own: it respects /etc/hosts,
  nsswitch.conf, search domains and everything else configured on the machine.  The
  default, unless the operator sets ``resolv_conf``.
* Twisted's DNS client: /etc/hosts, then the name servers in ``resolv_conf``, which
  getaddrinfo cannot use.  Serial numbers of zones are always looked up this way.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThreadPool
from twisted.names import client, dns, hosts
from twisted.names.error import DNSNameError
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath

from pgswitch.dns.cache import Addresses
from pgswitch.dns.resolv_conf import ResolvConf, parse
from pgswitch.net.reactor import DaemonThreadPool

SYSTEM_RESOLV_CONF = "/etc/resolv.conf"
HOSTS = "/etc/hosts"
MAX_THREADS = 8
_NO_SUCH_NAME = (
    socket.EAI_NONAME,
    getattr(socket, "EAI_NODATA", socket.EAI_NONAME),
)
_NAME_ERROR = 3
_SERVER_FAILED = 2
"""RCODEs (RFC 1035, section 4.1.1)."""


class LookupFailed(Exception):
    """A lookup without an address.

    ``result`` is an EAI_ code or a DNS RCODE; ``is_certain``: the name service said
    that the name has no address.
    """

    def __init__(self, name: str, result: int, *, is_certain: bool) -> None:
        """Take the name and the result for the log."""
        super().__init__(f"{name}: result={result}")
        self.result = result
        self.is_certain = is_certain


HostLookup = Callable[[str], "Deferred[Addresses]"]
"""Returns the addresses of a name, at least one; fails with LookupFailed."""


class SystemLookup:
    """Looks names up by the system's ``getaddrinfo``."""

    def __init__(self, reactor: Any) -> None:  # noqa: ANN401 - of threads
        """Start without threads; the first lookup starts one."""
        self._reactor = reactor
        self._threads = DaemonThreadPool(0, MAX_THREADS, name="names")

    def __call__(self, name: str) -> Deferred[Addresses]:
        """Return the addresses in the order of getaddrinfo."""
        if not self._threads.started:
            self._threads.start()
        return deferToThreadPool(self._reactor, self._threads, addresses_of, name)

    def stop(self) -> None:
        """End the threads; a hanging one is abandoned."""
        self._threads.end()


def addresses_of(name: str) -> Addresses:
    """Return getaddrinfo's addresses of a name; blocks, raises LookupFailed."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        code = error.errno or 0
        raise LookupFailed(name, code, is_certain=code in _NO_SUCH_NAME) from error
    except UnicodeError as error:
        raise LookupFailed(name, socket.EAI_NONAME, is_certain=True) from error
    return tuple(dict.fromkeys(str(one[4][0]) for one in found))


class DnsLookup:
    """Asks the name servers in a file, which is read again for each lookup."""

    def __init__(self, reactor: Any, path: str) -> None:  # noqa: ANN401 - of datagrams
        """``path`` is the path of a resolv.conf(5)."""
        self._reactor = reactor
        self._path = path or SYSTEM_RESOLV_CONF

    def __call__(self, name: str) -> Deferred[Addresses]:
        """Return the addresses in /etc/hosts, else those from the name servers."""
        return Deferred.fromCoroutine(self._look_up(name))

    async def _look_up(self, name: str) -> Addresses:
        try:
            written = name.encode("idna" if not name.isascii() else "ascii")
        except UnicodeError as error:
            raise LookupFailed(name, _NAME_ERROR, is_certain=True) from error
        found = tuple(hosts.searchFileForAll(FilePath(HOSTS), written))
        if found:
            return found
        conf, resolver = self._resolver()
        failures: list[Failure] = []
        for candidate in conf.candidates(written.decode()):
            answers: list[tuple[bool, Any]] = await DeferredList(
                [
                    resolver.lookupAddress(candidate),
                    resolver.lookupIPV6Address(candidate),
                ],
                consumeErrors=True,
            )
            found = tuple(
                address
                for succeeded, answer in answers
                if succeeded
                for address in _addresses(answer)
            )
            if found:
                return found
            failures += [answer for succeeded, answer in answers if not succeeded]
        is_certain = all(one.check(DNSNameError) for one in failures)
        code = _NAME_ERROR if is_certain else _SERVER_FAILED
        raise LookupFailed(name, code, is_certain=is_certain)

    def serial(self, zone: str) -> Deferred[int]:
        """Return the serial number of a zone; fails in one of several ways."""
        return Deferred.fromCoroutine(self._serial(zone))

    async def _serial(self, zone: str) -> int:
        _conf, resolver = self._resolver()
        answers, _authority, _more = await resolver.lookupAuthority(zone)
        for record in answers:
            if record.type == dns.SOA:
                return int(record.payload.serial)
        raise LookupFailed(zone, _SERVER_FAILED, is_certain=False)

    def _resolver(self) -> tuple[ResolvConf, Any]:
        try:
            text = Path(self._path).read_text("utf-8", "replace")
        except OSError:
            text = ""
        conf = parse(text)
        return conf, client.Resolver(
            servers=list(conf.servers),
            timeout=(conf.timeout,) * conf.attempts,
            reactor=self._reactor,
        )


def _addresses(answer: tuple[Any, Any, Any]) -> list[str]:
    """Return the addresses in an answer, without its CNAME records."""
    records, _authority, _more = answer
    return [
        record.payload.dottedQuad()
        if record.type == dns.A
        else socket.inet_ntop(socket.AF_INET6, record.payload.address)
        for record in records
        if record.type in (dns.A, dns.AAAA)
    ]
