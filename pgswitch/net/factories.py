"""The factories of our protocols, which listeners and endpoints call.

One :class:`FrontendFactory` serves all listening sockets.  A :class:`BackendFactory` is
for one connection to a server: the pool makes the protocol before it connects, because
the connection counts from then on (it is ``new`` in SHOW SERVERS).
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IProtocolFactory
from zope.interface import classImplements

from pgswitch.net.backend import address_of
from pgswitch.net.frontend import Frontend, FrontendService
from pgswitch.types import Address


class FrontendFactory:
    """Builds the protocol of each client: an ``IProtocolFactory``."""

    def __init__(self, service: FrontendService) -> None:
        """Take the service that all clients log in to."""
        self.service = service

    def doStart(self) -> None:
        """Do nothing: the factory lives as long as the service."""

    def doStop(self) -> None:
        """Do nothing, as above."""

    def buildProtocol(self, addr: Any) -> Frontend:  # noqa: ANN401 - an IAddress or ours
        """Return the protocol of a client.

        :param addr: where the client comes from: an ``Address`` from our acceptors,
            which is cheaper to make, or an ``IAddress`` from Twisted's ports.
        """
        if not isinstance(addr, Address):
            addr = address_of(addr)
        return Frontend(self.service, addr)


class BackendFactory:
    """Hands out one protocol, made before the connection: an ``IProtocolFactory``."""

    def __init__(self, protocol: Any) -> None:  # noqa: ANN401 - an IProtocol
        """Take the protocol: a Backend or a CancelConnection."""
        self._protocol: Any = protocol

    def doStart(self) -> None:
        """Do nothing: the pool keeps the books."""

    def doStop(self) -> None:
        """Do nothing, as above."""

    def buildProtocol(self, addr: Any) -> Any:  # noqa: ANN401 - as Twisted has it
        """Return the protocol, the first time; None refuses a second connection.

        Keeps no reference to it: the connection may keep this factory for longer.
        """
        del addr
        protocol, self._protocol = self._protocol, None
        return protocol


# Not as decorators: mypyc does not compile decorated classes.
classImplements(FrontendFactory, IProtocolFactory)
classImplements(BackendFactory, IProtocolFactory)
