"""What the login service has a Frontend do: the commands of a login.

The pure authentication (``wire/client_auth.py``) speaks to its caller by commands in
the same way.  A step that has to wait returns a Deferred of a list of these.

==================  ==========================================================
command             what the Frontend does
==================  ==========================================================
``Authenticate``    runs the exchange, then asks for the commands that follow
``StartRelay``      ends the login; messages go to the pool's servers from now on
``StartConsole``    ends the login; messages go to the console from now on
==================  ==========================================================

No command means that the client waits for its pool, which resumes the login.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgswitch.net.console_answers import ConsoleSession
    from pgswitch.relay.idle_pool import IdlePool
    from pgswitch.wire.client_auth import ClientAuthenticator
    from pgswitch.wire.params import Values
    from pgswitch.wire.prepared import ClientStatements


class Authenticate:
    """Have the client prove itself."""

    __slots__ = ("authenticator",)

    def __init__(self, authenticator: ClientAuthenticator) -> None:
        """Take the exchange, which has not begun."""
        self.authenticator = authenticator


class StartRelay:
    """Relay messages between the client and the servers of ``idle_pool``.

    ``reply`` are the messages that end the login, AuthenticationOk to ReadyForQuery,
    with ``cancel_key`` among them; both are empty for a client that another process
    has logged in.
    """

    __slots__ = (
        "cancel_key",
        "idle_pool",
        "message_limit",
        "parameters",
        "reply",
        "simple_queries",
        "statements",
    )

    def __init__(
        self,
        idle_pool: IdlePool,
        statements: ClientStatements | None,
        parameters: Values,
        *,
        message_limit: int,
        simple_queries: bool,
        reply: bytes = b"",
        cancel_key: bytes = b"",
    ) -> None:
        """Take what the client's stream needs.

        :param parameters: values of the tracked parameters from now on.
        :param message_limit: bytes of a message (``max_packet_size``).
        :param simple_queries: whether the simple query protocol is allowed.
        """
        self.idle_pool = idle_pool
        self.statements = statements
        self.parameters = parameters
        self.message_limit = message_limit
        self.simple_queries = simple_queries
        self.reply = reply
        self.cancel_key = cancel_key


class StartConsole:
    """Answer the client's messages by the admin console."""

    __slots__ = ("cancel_key", "console", "message_limit", "parameters", "reply")

    def __init__(
        self,
        console: ConsoleSession,
        parameters: Values,
        *,
        message_limit: int,
        reply: bytes,
        cancel_key: bytes,
    ) -> None:
        """Take the console; the rest is as for :class:`StartRelay`."""
        self.console = console
        self.parameters = parameters
        self.message_limit = message_limit
        self.reply = reply
        self.cancel_key = cancel_key


LoginCommand = Authenticate | StartRelay | StartConsole
