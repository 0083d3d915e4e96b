"""Two ways to look up a host name; neither blocks the reactor.

* The system's ``getaddrinfo``, in threads of our own: it respects /etc/hosts,
  nsswitch.conf, search domains and everything else configured on the machine.  The
  default, unless the operator sets ``resolv_conf``.
* Twisted's DNS client: /etc/hosts, then the name servers in ``resolv_conf``, which
  getaddrinfo cannot use.  Serial numbers of zones are always looked up this way.

The file is as in resolv.conf(5), with one extension, as in c-ares: a name server may
have a port, ``127.0.0.1:5353`` or
``[::1]:5353``.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThreadPool
from twisted.names import client, dns, hosts
from twisted.names.error import DNSNameError
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath

from pgswitch.dns.cache import Addresses
from pgswitch.net.reactor import DaemonThreadPool

DNS_PORT = 53
MAX_NAMESERVERS = 3
MAX_NDOTS = 15
MAX_TIMEOUT = 30
MAX_ATTEMPTS = 5
"""The limits of resolv.conf(5)."""
NDOTS, TIMEOUT_S, ATTEMPTS = 1, 5, 2
LOCAL = (("127.0.0.1", DNS_PORT),)
"""Defaults for what the file does not set."""


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """The name servers, and how to complete a name."""

    servers: tuple[tuple[str, int], ...] = LOCAL
    search: tuple[str, ...] = ()
    ndots: int = NDOTS
    timeout: int = TIMEOUT_S
    """Seconds for one answer."""
    attempts: int = ATTEMPTS

    def candidates(self, name: str) -> list[str]:
        """Return the complete names to look up, in order."""
        if name.endswith("."):
            return [name[:-1]]
        longer = [f"{name}.{domain}" for domain in self.search]
        if name.count(".") >= self.ndots:
            return [name, *longer]
        return [*longer, name]


def parse(text: str) -> ResolvConf:
    """Parse a file; unknown lines are ignored."""
    servers: list[tuple[str, int]] = []
    search: tuple[str, ...] = ()
    options: dict[str, int] = {}
    for line in text.splitlines():
        keyword, *values = line.split() or [""]
        if keyword == "nameserver" and values:
            servers += _server(values[0])
        elif keyword in ("search", "domain"):
            search = tuple(value.rstrip(".") for value in values)
        elif keyword == "options":
            options |= _options(values)
    return ResolvConf(
        servers=tuple(servers[:MAX_NAMESERVERS]) or LOCAL,
        search=search,
        ndots=min(options.get("ndots", NDOTS), MAX_NDOTS),
        timeout=max(min(options.get("timeout", TIMEOUT_S), MAX_TIMEOUT), 1),
        attempts=max(min(options.get("attempts", ATTEMPTS), MAX_ATTEMPTS), 1),
    )


def _server(text: str) -> list[tuple[str, int]]:
    """Return address and port; empty if ``text`` has none of the accepted forms."""
    host, port = text, str(DNS_PORT)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest[1:] if rest.startswith(":") else port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        return [(str(ipaddress.ip_address(host)), int(port))]
    except ValueError:
        return []


def _options(values: list[str]) -> dict[str, int]:
    found = {}
    for value in values:
        name, _, number = value.partition(":")
        if number.isascii() and number.isdigit():
            found[name] = int(number)
    return found


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
