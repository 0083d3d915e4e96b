"""What only this machine knows of an address: is it ours, is it near, its name.

Functions of the system; the look-up of names blocks, so it runs in a thread.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import ifaddr

from pgswitch.auth.hba import IpAddress, Network, SameNet, in_network, plain_address


def is_near(near: SameNet, address: IpAddress) -> bool:
    """Tell whether an address is one of this machine's, or in one of its networks."""
    networks = _networks()
    if near is SameNet.SAMEHOST:
        return any(address == base for base, _mask in networks)
    return any(in_network(address, network) for network in networks)


def _networks() -> Iterator[Network]:
    """Yield the addresses of the interfaces, with their masks."""
    for adapter in ifaddr.get_adapters():
        for one in adapter.ips:
            text = one.ip if isinstance(one.ip, str) else one.ip[0]
            address = plain_address(text)
            size = address.max_prefixlen
            yield address, (1 << size) - (1 << (size - one.network_prefix))


def reverse_lookup(address: str) -> tuple[str, ...]:
    """Return the host name of an address, if that name leads back to it; blocks.

    Who owns an address decides what name it gives; only the owner of the name can have
    it lead there. (PostgreSQL's manual, "The pg_hba.conf File", on host names.)
    """
    try:
        name, _port = socket.getnameinfo((address, 0), socket.NI_NAMEREQD)
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    wanted = plain_address(address)
    back = {plain_address(str(one[4][0])) for one in found}
    return (name,) if wanted in back else ()
