"""A client and servers of an idle pool, with recorded sockets and partners."""

from __future__ import annotations

from time import monotonic

from pgswitch.errors import Fault
from pgswitch.relay.client_stream import ClientStream
from pgswitch.relay.idle_pool import IdlePool
from pgswitch.relay.server_stream import ServerStream
from pgswitch.relay.stream import Clock
from pgswitch.types import PoolMode
from pgswitch.wire.framing import MAX_MESSAGE_SIZE
from pgswitch.wire.prepared import ClientStatements
from pgswitch.wire.statements import ServerStatements, StatementTable


class Socket:
    """A socket whose sends are recorded and may be refused."""

    def __init__(self) -> None:
        """Begin with room without end."""
        self.sent = b""
        self.room = -1
        self.done: list[str] = []

    def recv(self, size: int) -> bytes:
        """Say that nothing has come."""
        raise BlockingIOError(size)

    def send(self, data: bytes) -> int:
        """Take what there is room for."""
        if self.room == 0:
            raise BlockingIOError
        taken = len(data) if self.room < 0 else min(self.room, len(data))
        self.room -= taken if self.room > 0 else 0
        self.sent += data[:taken]
        return taken

    def failed(self, error: OSError) -> object:
        """Return something for the reactor."""
        return error

    def ended(self) -> object:
        """Return something for the reactor."""
        return "ended"

    def drain_later(self) -> None:
        """Record."""
        self.done.append("drain")

    def pause(self) -> None:
        """Record."""
        self.done.append("pause")

    def resume(self) -> None:
        """Record."""
        self.done.append("resume")

    def wake_for(self, least: int) -> bool:
        """Record, and have the room."""
        self.done.append(f"wake for {least}")
        return True

    def take(self) -> bytes:
        """Return what was sent since the last call."""
        sent, self.sent = self.sent, b""
        return sent


class Control:
    """Stands for Frontend and Backend: records calls."""

    def __init__(self) -> None:
        """Begin without calls."""
        self.calls: list[tuple[object, ...]] = []

    def message(self, message_type: int, body: bytes) -> None:
        """Record."""
        self.calls.append(("message", chr(message_type), body))

    def first_bytes(self, chunk: bytes) -> None:
        """Record."""
        self.calls.append(("first bytes", chunk))

    def faulted(self, fault: Fault) -> None:
        """Record."""
        self.calls.append(("faulted", fault.text))

    def parameter_status(self, body: bytes) -> None:
        """Record."""
        self.calls.append(("parameter", body))

    def without_shutdown_notice(
        self, chunk: bytes, at: int, *, unanswered: bool
    ) -> bytes:
        """Return nothing of what has the SQLSTATE."""
        del at
        return b"" if unanswered and b"C57P01\0" in chunk else chunk

    def chunk_processed(self) -> None:
        """Do nothing."""

    def is_answering(self) -> bool:
        """Say that nothing was asked."""
        return False

    def contradicted(self, what: str) -> None:
        """Record."""
        self.calls.append(("contradicted", what))

    def parameter_reset(self, body: bytes) -> bytes | None:
        """Record."""
        self.calls.append(("reset", body))
        return None

    def refused_to_write(self) -> None:
        """Record."""
        self.calls.append(("refused to write",))

    def was_reset(self, *, at_default: bool) -> None:
        """Do nothing: all parameters are reported here."""

    def transaction_in_statement_mode(self) -> None:
        """Record."""
        self.calls.append(("statement mode",))

    def close(self, reason: str) -> None:
        """Record."""
        self.calls.append(("close", reason))

    def terminated(self) -> None:
        """Record."""
        self.calls.append(("terminated",))

    def disconnect(self, fault: Fault, *, quietly: bool = False) -> None:
        """Record."""
        self.calls.append(("disconnect", fault.text, quietly))


class PoolPolicy:
    """Stands for the pool: queues waiting clients, records the rest."""

    def __init__(self) -> None:
        """Begin without calls."""
        self.idle_pool: IdlePool
        self.calls: list[tuple[str, object]] = []
        self.syncs_parameters = False

    def wait(self, client: ClientStream) -> None:
        """Queue."""
        client.suspend()
        client.waiting_since = 1.0
        self.idle_pool.waiters.append(client)

    def sync_parameters(self, client: ClientStream, server: ServerStream) -> bool:
        """Record."""
        self.calls.append(("sync_parameters", (client, server)))
        return self.syncs_parameters

    def discard(self, server: ServerStream) -> None:
        """Record."""
        self.calls.append(("discard", server))

    def released(self, server: ServerStream) -> None:
        """Record."""
        self.calls.append(("released", server))


class Stage:
    """An idle pool in one pool mode, which makes clients and servers."""

    def __init__(self, mode: PoolMode = PoolMode.TRANSACTION) -> None:
        """Begin with no server."""
        self.policy = PoolPolicy()
        self.idle_pool = IdlePool(self.policy, monotonic)
        self.policy.idle_pool = self.idle_pool
        self.idle_pool.mode = int(mode)
        self.table = StatementTable()
        self.sockets: dict[object, Socket] = {}
        self.controls: dict[object, Control] = {}

    def server(self, control: Control | None = None) -> ServerStream:
        """Return a new server, idle in the pool."""
        socket, control = Socket(), control or Control()
        server = ServerStream(
            MAX_MESSAGE_SIZE,
            socket,
            control,
            ServerStatements(self.table),
            Clock(monotonic, monotonic()),
        )
        server.server_source = self.idle_pool
        server.counters = self.idle_pool.counters
        self.sockets[server], self.controls[server] = socket, control
        self.idle_pool.idle.append(server)
        return server

    def client(self, *, prepared: int | None = None) -> ClientStream:
        """Return a new client, logged in.

        ``prepared`` is max_prepared_statements; without it servers are not shared.
        """
        socket, control = Socket(), Control()
        client = ClientStream(
            MAX_MESSAGE_SIZE, socket, control, Clock(monotonic, monotonic())
        )
        client.starting = False
        client.counters = self.idle_pool.counters
        statements = None
        if prepared is not None:
            statements = ClientStatements(
                self.table, client.exchange, prepared, self.idle_pool.counters
            )
        client.begin_relay(self.idle_pool, statements)
        self.sockets[client], self.controls[client] = socket, control
        return client

    def sent(self, stream: object) -> bytes:
        """Return what was sent to the peer of a stream since the last call."""
        return self.sockets[stream].take()

    def calls(self, stream: object) -> list[tuple[object, ...]]:
        """Return the calls of a stream's partner."""
        return self.controls[stream].calls
