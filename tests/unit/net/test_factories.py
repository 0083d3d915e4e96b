"""What listeners and endpoints build protocols by."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol

from pgswitch.net.factories import BackendFactory
from pgswitch.types import Address
from tests.fakes.world import World


@pytest.mark.parametrize(
    ("address", "ours"),
    [
        (Address("192.0.2.1", 5), Address("192.0.2.1", 5)),
        (IPv4Address("TCP", "192.0.2.1", 5), Address("192.0.2.1", 5)),
        (IPv6Address("TCP", "2001:db8::1", 5), Address("2001:db8::1", 5)),
        (UNIXAddress(b"/tmp/.s.PGSQL.6432"), Address("unix", 6432)),
    ],
)
def test_a_frontend(world: World, address: IAddress, ours: Address) -> None:
    """It takes our addresses, and those of Twisted's own ports."""
    factory = world.service.frontends
    factory.doStart()
    frontend = factory.buildProtocol(address)
    assert frontend.address == ours
    assert frontend.service is world.service.login_service
    factory.doStop()


def test_one_connection() -> None:
    """A factory of one protocol hands it out once and keeps no hold of it."""
    protocol = Protocol()
    factory = BackendFactory(protocol)
    factory.doStart()
    assert factory.buildProtocol(object()) is protocol
    assert factory.buildProtocol(object()) is None
    factory.doStop()
