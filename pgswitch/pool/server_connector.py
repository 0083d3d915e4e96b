"""Opens the server connections of one pool: which host, which start-up packet.

Protocol 3.2 is asked for, for its long cancel keys.  PostgreSQL before 18 answers with
NegotiateProtocolVersion and goes on with 3.0; a server that refuses or hangs up
instead (Redshift, some proxies) is asked for 3.0 from then on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.error import DNSLookupError

from pgswitch.net.backend import Backend, BackendOwner
from pgswitch.net.close_reason import CloseReason
from pgswitch.net.tls_negotiation import Encryption
from pgswitch.tls.contexts import TlsSetupError
from pgswitch.types import Address
from pgswitch.wire import encode
from pgswitch.wire.server_auth import ServerAuthenticator
from pgswitch.wire.statements import ServerStatements

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from pgswitch.config.model import DatabaseSpec
    from pgswitch.pool.context import ServiceContext
    from pgswitch.types import PoolKey


class ServerConnector:
    """Makes backends for one pool and connects them."""

    def __init__(
        self,
        key: PoolKey,
        context: ServiceContext,
        owner: BackendOwner,
        *,
        quiet: bool = False,
    ) -> None:
        """``owner`` is the pool, which the backends report to.

        ``quiet``: the owner sees to it that the log tells of connections.
        """
        self._is_quiet = quiet
        self._key = key
        self._context = context
        self._owner = owner
        self._connecting: dict[Backend, Deferred[object]] = {}
        self._turn = 0
        self._startup = encode.startup_3_2

    def open_one(
        self,
        spec: DatabaseSpec,
        generation: int,
        *,
        owner: BackendOwner | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> Backend:
        """Return a backend that is to be connected next.

        ``owner`` is told of its life instead of the pool; ``extra`` are parameters
        for its start-up packet, before those of the database's entry.
        """
        context = self._context
        parameters = startup_parameters(spec, self._key.user, extra or {})
        secret, keys = context.credentials(spec, self._key.user)
        backend = Backend(
            number=next(context.numbers),
            owner=owner or self._owner,
            names=(spec.name, self._key.user),
            startup=self._startup(parameters),
            login=ServerAuthenticator(
                self._key.user,
                secret,
                keys,
                random=context.random,
                cache=context.scram_cache,
                iterations_max=context.configuration.settings.scram_iterations_max,
            ),
            derive_keys=context.derive_keys,
            statements=ServerStatements(context.statements),
            tracking=context.tracking,
            log=context.log,
            limit=context.configuration.settings.max_packet_size,
            generation=generation,
        )
        backend.is_quiet = self._is_quiet
        _aim(backend, self._host(spec), spec.port)
        return backend

    def connect(self, spec: DatabaseSpec, backend: Backend) -> None:
        """Begin to connect; the backend is closed if no host can be connected to."""
        hosts = spec.hosts
        if backend.host is None or len(hosts) == 1:
            self._attempt(spec, backend, ())
        else:
            at = hosts.index(backend.host)
            self._attempt(spec, backend, hosts[at + 1 :] + hosts[:at])

    def _attempt(
        self, spec: DatabaseSpec, backend: Backend, others: tuple[str, ...]
    ) -> None:
        """Try the backend's host; ``others`` are tried if that fails."""
        try:
            backend.encryption = self._encryption(spec, backend.host)
        except TlsSetupError as error:
            if self._is_quiet:
                backend.close(
                    CloseReason.TLS_SETUP_FAILED, detail=f"TLS setup failed: {error}"
                )
                return
            self._context.log.error(f"{backend.prefix} TLS setup failed: {error}")
            backend.close(CloseReason.TLS_SETUP_FAILED)
            return
        backend.is_logged = self._is_logging()
        connecting = self._context.connect(backend.host, spec.port, backend)
        self._connecting[backend] = connecting
        connecting.addCallbacks(
            self._connected,
            self._failed,
            callbackArgs=(backend,),
            errbackArgs=(spec, backend, others),
        )

    def _is_logging(self) -> bool:
        settings = self._context.configuration.settings
        return bool(settings.log_connections) and not self._is_quiet

    @property
    def may_fall_back(self) -> bool:
        """Whether more than protocol 3.0 is asked for."""
        return self._startup is not encode.startup

    def fall_back(self) -> None:
        """Ask for protocol 3.0 from now on."""
        self._startup = encode.startup

    def give_up(self, backend: Backend) -> None:
        """Stop connecting a backend that was closed meanwhile.

        One that ends in the moment that it is connected, as direct TLS may, leaves
        nothing to stop: Twisted is about to say that the attempt has succeeded.
        """
        connecting = self._connecting.pop(backend, None)
        if connecting is not None and backend.transport is None:
            connecting.cancel()

    def _encryption(self, spec: DatabaseSpec, host: str | None) -> Encryption | None:
        """Return how a host is connected to; sockets of this machine need no TLS."""
        if host is None or host.startswith(("/", "@")):
            return None
        side = self._context.tls.server(spec)
        return None if side is None else Encryption(side, host)

    def _host(self, spec: DatabaseSpec) -> str | None:
        """Return the host whose turn it is; None for the unix socket folder."""
        hosts = spec.hosts
        if not hosts:
            return None
        host = hosts[self._turn % len(hosts)]
        if spec.load_balance_hosts != "disable":
            self._turn += 1
        return host

    def _connected(self, _result: object, backend: Backend) -> None:
        is_there = self._connecting.pop(backend, None) is not None
        if is_there and self._is_logging():
            local = backend.local_address
            where = "" if local.host == "unix" else f" (from {local})"
            self._context.log.log(f"{backend.prefix} new connection to server{where}")

    def _failed(
        self,
        failure: Failure,
        spec: DatabaseSpec,
        backend: Backend,
        others: tuple[str, ...],
    ) -> None:
        if self._connecting.pop(backend, None) is None:
            return
        if spec.load_balance_hosts == "disable":
            self._turn += 1
        if not self._is_quiet:
            self._context.log.warning(f"{backend.prefix} {failure.getErrorMessage()}")
        if others:
            _aim(backend, others[0], spec.port)
            self._attempt(spec, backend, others[1:])
        elif failure.check(DNSLookupError):
            backend.close(CloseReason.DNS_FAILED)
        else:
            words = failure.getErrorMessage()
            backend.close(
                CloseReason.CONNECT_FAILED, detail=words if self._is_quiet else ""
            )


def _aim(backend: Backend, host: str | None, port: int) -> None:
    """Have a backend connected to a host; None is the unix socket folder."""
    backend.host = host
    is_socket = host is None or host.startswith(("/", "@"))
    backend.address = Address("unix" if is_socket else str(host), port)


def startup_parameters(
    spec: DatabaseSpec, user: str, extra: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Return what the start-up packet says to a server of this database.

    A name that is in ``extra`` too, in any case, is said as there.
    """
    given = {
        "user": user,
        "database": spec.dbname or spec.name,
        "client_encoding": spec.client_encoding,
        "datestyle": spec.datestyle,
        "timezone": spec.timezone,
        "application_name": spec.application_name,
    }
    said = {name.lower() for name in extra}
    own = [
        (name, value)
        for name, value in given.items()
        if value is not None and name not in said
    ]
    return [*own, *extra.items()]
