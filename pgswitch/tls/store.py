"""What is in force: one side for clients, one for each kind of server connection.

A reload builds all of it anew, because a file's content may have changed under the same
name, and puts it in force only when every part could be built.  Connections keep the
context that they were made with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgswitch.tls import options as tls_options
from pgswitch.tls.contexts import TlsSetupError
from pgswitch.tls.endpoints import ClientTls, ServerTls

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgswitch.config.model import Configuration, DatabaseSpec, Settings
    from pgswitch.tls.options import TlsOptions


class TlsContexts:
    """The contexts by the options that they were made from."""

    def __init__(self, configuration: Configuration) -> None:
        """Build everything. Raises TlsSetupError."""
        self.clients: ClientTls | None
        """None while clients are served in clear alone."""
        self.is_current = True
        """The settings of the configuration in force are those of the contexts."""
        self._settings: Settings
        self._servers: dict[TlsOptions, ServerTls]
        self.configure(configuration)

    def configure(self, configuration: Configuration) -> None:
        """Read all files again. Raises TlsSetupError; then all stays as it was."""
        self.is_current = False
        settings = configuration.settings
        options = tls_options.for_clients(settings)
        clients = None if options.mode == tls_options.DISABLE else ClientTls(options)
        servers = {
            options: ServerTls(options) for options in _to_servers(configuration)
        }
        self.clients, self._settings, self._servers = clients, settings, servers
        self.is_current = True

    def server(self, spec: DatabaseSpec) -> ServerTls | None:
        """Return how servers of a database are connected to; None: in clear.

        Raises TlsSetupError for a line that came with a reload whose TLS could not be
        put in force: such a server is better not reached than reached in clear.
        """
        options = tls_options.for_servers(self._settings, spec)
        if options.mode == tls_options.DISABLE:
            return None
        if options not in self._servers:
            self._servers[options] = ServerTls(options)
        return self._servers[options]


def problems(configuration: Configuration) -> list[str]:
    """Return all that keeps the settings of TLS from being put in force, in words."""
    found: list[str] = []

    def attempt(make: Callable[[TlsOptions], object], options: TlsOptions) -> None:
        try:
            make(options)
        except TlsSetupError as error:
            found.append(str(error))

    of_clients = tls_options.for_clients(configuration.settings)
    if of_clients.mode != tls_options.DISABLE:
        attempt(ClientTls, of_clients)
    for options in _to_servers(configuration):
        attempt(ServerTls, options)
    return found


def _to_servers(configuration: Configuration) -> list[TlsOptions]:
    """Return the different ways of all databases to encrypt, in their order."""
    settings = configuration.settings
    wanted = [tls_options.for_servers(settings)]
    wanted += (
        tls_options.for_servers(settings, spec)
        for spec in configuration.databases.values()
    )
    return [one for one in dict.fromkeys(wanted) if one.mode != tls_options.DISABLE]
