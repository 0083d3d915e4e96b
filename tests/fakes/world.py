"""The whole service in a world of made-up connections and a clock set by hand.

Everything inside is real: frontends, streams, pools, console.  Sockets are fakes, each
attempt to connect to a server waits for the test to accept it or let it fail, and time
passes when the test says so.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.protocol import Protocol

from pgswitch.config.load import load
from pgswitch.net.backend import Backend
from pgswitch.net.frontend import Frontend
from pgswitch.pool.outgoing_cancels import CancelConnection
from pgswitch.pool.pool import ServerPool
from pgswitch.relay.event_loop import EventLoop
from pgswitch.service import PgSwitch
from pgswitch.types import Address, PoolKey
from pgswitch.wire import encode
from tests.fakes.messages import ANSWER, TERMINATE, error, error_text, query
from tests.fakes.transports import END, FakeTransport
from tests.unit.captured import CapturedLog, NotingReactor

START_S = 1000.0
"""What the clock shows first; 0.0 stands for "never" in many places."""
STEP_S = 0.25
PARAMETERS = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "TimeZone": "UTC",
    "standard_conforming_strings": "on",
    "application_name": "",
    "server_version": "18.0",
}
"""What servers report at login."""

WorldOf = Callable[..., "World"]


class FakeReactor(NotingReactor):
    """A clock, and where streams are found by descriptor as in a lean reactor."""

    def __init__(self) -> None:
        """Begin at START_S."""
        super().__init__()
        self.event_loop = EventLoop(lambda _descriptor, _event: True, _unused, _unused)
        self.running = True
        self.advance(START_S)

    def advance(self, amount: float) -> None:
        """Let time pass; streams see it at once."""
        self.event_loop.clock.now = self.seconds() + amount
        super().advance(amount)

    def stop(self) -> None:
        """Note the end."""
        assert self.running
        self.running = False


def _unused(*_arguments: object) -> None:
    raise AssertionError("nothing here runs the turns")


class End:
    """One of our connections as its other end sees it."""

    def __init__(self, world: World, transport: FakeTransport) -> None:
        """Hold the peer of ``transport``."""
        self.world = world
        self.transport = transport

    def say(self, *data: bytes) -> None:
        """Send; what follows from it follows at once."""
        for piece in data:
            self.transport.arrive(piece)
        self.world.turn()

    def hear(self) -> bytes:
        """Return what was sent to us since the last call."""
        sent = bytes(self.transport.socket.sent)
        self.transport.socket.sent.clear()
        return sent

    def drop(self) -> None:
        """Close the connection without a word."""
        self.say(END)

    def is_gone(self) -> bool:
        """Tell whether the connection has ended."""
        return not self.transport.connected


class Client(End):
    """A client; ``frontend`` is our side of it."""

    def __init__(self, world: World, transport: FakeTransport) -> None:
        """Hold the peer."""
        super().__init__(world, transport)
        protocol = transport.protocol
        assert isinstance(protocol, Frontend)
        self.frontend = protocol

    def state(self) -> str:
        """Return the word of SHOW CLIENTS."""
        return self.frontend.show_state

    @property
    def fault(self) -> str:
        """The text of the last error sent to us since the last call."""
        return error_text(self.hear())


class Server(End):
    """A server; ``backend`` is our side of it."""

    def __init__(self, world: World, transport: FakeTransport) -> None:
        """Hold the peer."""
        super().__init__(world, transport)
        protocol = transport.protocol
        assert isinstance(protocol, Backend)
        self.backend = protocol

    def state(self) -> str:
        """Return the word of SHOW SERVERS."""
        return self.backend.state.column

    def log_in(self, **changed: str) -> None:
        """Accept the login; report PARAMETERS with some of them changed."""
        self.hear()
        number = self.backend.number
        self.say(
            encode.auth_ok()
            + b"".join(
                encode.parameter_status(*item)
                for item in (PARAMETERS | changed).items()
            )
            + encode.backend_key_data(number.to_bytes(4, "big") + b"key!")
            + encode.ready_for_query()
        )

    def refuse(self, text: str, sqlstate: str) -> None:
        """Refuse the login, and close."""
        self.say(error(text, sqlstate, "FATAL"))

    def answer(self) -> bytes:
        """Answer one query; return what we were asked since the last call."""
        asked = self.hear()
        self.say(ANSWER)
        return asked


class Attempt:
    """A connection attempt of pgswitch, whose outcome the test decides."""

    def __init__(
        self, world: World, host: str | None, port: int, protocol: Protocol
    ) -> None:
        """Wait for the decision."""
        self.world = world
        self.host, self.port, self.protocol = host, port, protocol
        self.cancelled = False
        self.connecting: Deferred[object] = Deferred(self._cancel)

    def _cancel(self, _deferred: Deferred[object]) -> None:
        self.cancelled = True
        self._decided()

    def _decided(self) -> None:
        if self in self.world.attempts:
            self.world.attempts.remove(self)

    def transport(self) -> FakeTransport:
        """Accept; return the connection."""
        self._decided()
        peer = (
            UNIXAddress(f"/tmp/.s.PGSQL.{self.port}")
            if self.host is None or self.host.startswith(("/", "@"))
            else IPv4Address("TCP", self.host, self.port)
        )
        transport = FakeTransport(
            self.world.reactor, self.protocol, peer, number=next(self.world.numbers)
        )
        self.connecting.callback(self.protocol)
        return transport

    def accept(self) -> Server:
        """Accept; the login is still to come."""
        return Server(self.world, self.transport())

    def fail(self, reason: Exception | None = None) -> None:
        """Let the attempt fail."""
        self._decided()
        self.connecting.errback(reason or Refused())
        self.world.turn()


class World:
    """The service, and everything around it."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, **sections: str
    ) -> None:
        """Build the service from sections of a configuration; see :meth:`write`."""
        self.folder = folder
        self.captured = CapturedLog()
        self.reactor = FakeReactor()
        self.numbers = count(1)
        self.attempts: list[Attempt] = []
        """Those not decided about yet, the first begun first."""
        clock = self.reactor.seconds
        monkeypatch.setattr("pgswitch.service.monotonic", clock)
        (folder / "users.txt").write_text('"app" ""\n"other" ""\n"admin" ""\n')
        self.write(**sections)
        self.started = 0
        self.service = PgSwitch(
            load(self.path),
            reactor=self.reactor,
            log=self.captured.log,
            started=self._note_start,
        )
        self.context = self.service.context
        self.context.connect = self._connect
        self.context.random = self._random
        self.worked: list[Callable[[], object]] = []
        """What was done in threads, so to say."""
        monkeypatch.setattr(self.service.workers, "of", lambda _work: self._do)
        monkeypatch.setattr(self.service.hba_policy, "_work", self._do)
        self.context.derive_keys = self._do
        monkeypatch.setattr(self.service.listeners, "open", self._listen)
        self.service.startService()

    def _note_start(self) -> None:
        self.started += 1

    def _listen(self, *_arguments: object, **_more: object) -> None:
        """Open no socket."""

    def _connect(
        self, host: str | None, port: int, protocol: Protocol, address: str = ""
    ) -> Deferred[object]:
        del address
        self.attempts.append(Attempt(self, host, port, protocol))
        return self.attempts[-1].connecting

    def _do(self, call: Callable[[], object], whose: object = "") -> Deferred[object]:
        """Do at once what a thread would do."""
        del whose
        self.worked.append(call)
        return succeed(call())

    def _random(self, size: int) -> bytes:
        return next(self.numbers).to_bytes(size, "big")

    # Configuration, time.

    @property
    def path(self) -> str:
        """Where the configuration file is."""
        return str(self.folder / "pgswitch.ini")

    def write(
        self, settings: str = "", databases: str = "db = host=10.0.0.1", users: str = ""
    ) -> None:
        """Write the configuration file; reading it is the test's to have done."""
        lines = [
            *("[databases]", databases),
            *("[users]", users),
            *("[pgbouncer]", f"auth_file = {self.folder}/users.txt"),
            *("auth_type = trust", "admin_users = admin", "pool_mode = transaction"),
            *("listen_addr =", "unix_socket_dir =", "server_tls_sslmode = disable"),
            settings,
        ]
        Path(self.path).write_text("\n".join(lines) + "\n")

    def reload(self, **sections: str) -> bool:
        """Write a configuration and have it read."""
        self.write(**sections)
        return self.service.reload()

    def turn(self) -> None:
        """Let happen what is due."""
        while self.reactor.getDelayedCalls():
            due = min(call.getTime() for call in self.reactor.getDelayedCalls())
            if due > self.reactor.seconds():
                break
            self.reactor.advance(0)

    def wait(self, seconds: float) -> None:
        """Let time pass, in steps as small as those of the upkeep."""
        end = self.reactor.seconds() + seconds
        while self.reactor.seconds() < end:
            self.reactor.advance(min(STEP_S, end - self.reactor.seconds()))
            self.turn()

    @property
    def log(self) -> list[str]:
        """The log so far, ``LEVEL message`` each."""
        return self.captured.lines

    def logged(self, words: str) -> bool:
        """Tell whether some words were logged."""
        return any(words in line for line in self.log)

    # Clients and servers.

    def connect(self, host: str = "192.0.2.1") -> Client:
        """Return a client that has only connected."""
        frontend = Frontend(self.service.login_service, Address(host, 40_000))
        peer = IPv4Address("TCP", host, 40_000)
        number = next(self.numbers)
        return Client(self, FakeTransport(self.reactor, frontend, peer, number=number))

    def connect_locally(self) -> Client:
        """Return a client that has connected by a unix socket."""
        frontend = Frontend(self.service.login_service, Address("unix", 0))
        number = next(self.numbers)
        peer = UNIXAddress(None)
        return Client(self, FakeTransport(self.reactor, frontend, peer, number=number))

    def client(
        self, database: str = "db", user: str = "app", **parameters: str
    ) -> Client:
        """Return a client that has sent its start-up packet."""
        client = self.connect()
        given = {"user": user, "database": database, **parameters}
        client.say(encode.startup(given.items()))
        return client

    def console(self) -> Client:
        """Return an admin at the console."""
        client = self.client("pgbouncer", "admin")
        client.hear()
        return client

    def accept(self) -> Server:
        """Accept the attempt to connect that has waited longest."""
        return self.attempts[0].accept()

    def server(self, **changed: str) -> Server:
        """Accept an attempt and the login."""
        server = self.accept()
        server.log_in(**changed)
        return server

    def cancelling(self) -> End:
        """Accept the connection of a cancel request."""
        attempt = next(
            one for one in self.attempts if isinstance(one.protocol, CancelConnection)
        )
        return End(self, attempt.transport())

    def pair(self, **parameters: str) -> tuple[Client, Server]:
        """Return a logged-in client and the server that its login opened, idle."""
        client = self.client(**parameters)
        server = self.server()
        client.hear()
        return client, server

    def asking(self, text: str = "SELECT 1") -> tuple[Client, Server]:
        """Return a client whose query its server is at."""
        client, server = self.pair()
        client.say(query(text))
        return client, server

    def leave(self, client: Client) -> None:
        """Have a client say goodbye."""
        client.say(TERMINATE)

    def pool(self, database: str = "db", user: str = "app") -> ServerPool:
        """Return a pool that exists."""
        key = PoolKey(database, user)
        return next(pool for pool in self.service.pools if pool.key == key)
