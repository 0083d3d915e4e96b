"""Parses the file of the setting ``resolv_conf``: see resolv.conf(5).

One extension, as in c-ares: a name server may have a port, ``127.0.0.1:5353`` or
``[::1]:5353``.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

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
