"""Opens the server connections of one pool: chooses host and startup packet.

It requests protocol 3.2, for its long cancel keys.  PostgreSQL before 18 answers with
NegotiateProtocolVersion and goes on with 3.0; from a server that refuses or hangs up
instead (Redshift, some proxies) it requests 3.0 from then on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.error import DNSLookupError

from pgswitch.net.backend import Backend, BackendOwner
from pgswitch.net.connection_states import CloseReason
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

        ``quiet``: the owner logs connections and their failures itself.
        """
        self._is_quiet = quiet
        self._key = key
        self._context = context
        self._owner = owner
        self._connecting: dict[Backend, Deferred[object]] = {}
        self._next_host = 0
        self._startup = encode.startup_3_2

    def open_one(
        self,
        spec: DatabaseSpec,
        generation: int,
        *,
        owner: BackendOwner | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> Backend:
        """Return a backend that :meth:`connect` is called for next.

        It reports to ``owner`` instead of the pool; ``extra`` are parameters for its
        startup packet, which override those of the database's entry.
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
            clock=context.clock,
        )
        backend.is_quiet = self._is_quiet
        _set_target(backend, self._host(spec), spec.port)
        return backend

    def connect(self, spec: DatabaseSpec, backend: Backend) -> None:
        """Start to connect; the backend is closed if no host accepts the connection."""
        hosts = spec.hosts
        if backend.host is None or len(hosts) == 1:
            self._attempt(spec, backend, ())
        else:
            at = hosts.index(backend.host)
            self._attempt(spec, backend, hosts[at + 1 :] + hosts[:at])

    def _attempt(
        self, spec: DatabaseSpec, backend: Backend, others: tuple[str, ...]
    ) -> None:
        """Try the backend's host, then the ``others``."""
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
        """Whether a later protocol than 3.0 is requested."""
        return self._startup is not encode.startup

    def fall_back(self) -> None:
        """Request protocol 3.0 from now on."""
        self._startup = encode.startup

    def cancel(self, backend: Backend) -> None:
        """Stop connecting a backend that has been closed.

        If it was closed while being connected, as by direct TLS, nothing is left to
        stop: Twisted is about to report that the attempt has succeeded.
        """
        connecting = self._connecting.pop(backend, None)
        if connecting is not None and backend.transport is None:
            connecting.cancel()

    def _encryption(self, spec: DatabaseSpec, host: str | None) -> Encryption | None:
        """Return the TLS settings for a host; None for unix sockets and without TLS."""
        if host is None or host.startswith(("/", "@")):
            return None
        side = self._context.tls.server(spec)
        return None if side is None else Encryption(side, host)

    def _host(self, spec: DatabaseSpec) -> str | None:
        """Return the next host; None for the default unix socket directory."""
        hosts = spec.hosts
        if not hosts:
            return None
        host = hosts[self._next_host % len(hosts)]
        if spec.load_balance_hosts != "disable":
            self._next_host += 1
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
            self._next_host += 1
        if not self._is_quiet:
            self._context.log.warning(f"{backend.prefix} {failure.getErrorMessage()}")
        if others:
            _set_target(backend, others[0], spec.port)
            self._attempt(spec, backend, others[1:])
        elif failure.check(DNSLookupError):
            backend.close(CloseReason.DNS_FAILED)
        else:
            words = failure.getErrorMessage()
            backend.close(
                CloseReason.CONNECT_FAILED, detail=words if self._is_quiet else ""
            )


def _set_target(backend: Backend, host: str | None, port: int) -> None:
    """Set the host of a backend; None is the default unix socket directory."""
    backend.host = host
    is_socket = host is None or host.startswith(("/", "@"))
    backend.address = Address("unix" if is_socket else str(host), port)


def startup_parameters(
    spec: DatabaseSpec, user: str, extra: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Return the parameters of the startup packet to a server of this database.

    Those in ``extra`` override others whose name differs in case only.
    """
    own = {
        "user": user,
        "database": spec.dbname or spec.name,
        "client_encoding": spec.client_encoding,
        "datestyle": spec.datestyle,
        "timezone": spec.timezone,
        "application_name": spec.application_name,
    }
    overridden = {name.lower() for name in extra}
    kept = [
        (name, value)
        for name, value in own.items()
        if value is not None and name not in overridden
    ]
    return [*kept, *extra.items()]
