"""One client's session with the admin console: message in, reply bytes out.

The frontend hands over every message of a console client that has logged in, and
sends what comes back. Only the simple query protocol is spoken. A statement that
waits (PAUSE, WAIT_CLOSE) is answered through a Deferred; until then the frontend
reads no further message of that client, only a cancel request can arrive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from twisted.internet.defer import CancelledError, Deferred

from pgswitch.admin.commands import VERBS, run_verb
from pgswitch.admin.grammar import Command, Explanation, Setting, parse
from pgswitch.admin.show import (
    REFERENCE_VERSION,
    SESSION_VALUES,
    USAGE,
    explained,
    show,
)
from pgswitch.errors import (
    AdminAccessNeeded,
    ConsoleError,
    ConsolePacketUnsupported,
    ConsoleUsage,
    ExtendedProtocolUnsupported,
    Fault,
    InvalidCommand,
    ProtocolViolation,
    SetFailed,
    SetIgnored,
    SilentClose,
)
from pgswitch.wire import constants, decode, encode

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from pgswitch.admin.interfaces import ConsoleLog, Control, View

    T = TypeVar("T")

LOGIN_PARAMETERS: Final = (
    ("server_version", f"{REFERENCE_VERSION}/bouncer"),
    ("client_encoding", "UTF8"),
    ("server_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("TimeZone", "GMT"),
    ("standard_conforming_strings", "on"),
    ("is_superuser", "on"),
)
"""ParameterStatus of a console login, in order; tracked parameters follow."""

IGNORED_SETTINGS: Final = frozenset({*SESSION_VALUES, "extra_float_digits"})
"""What drivers SET at every login (the last by pgjdbc) and the console has not."""

EXTENDED_QUERY: Final = (constants.PARSE, constants.BIND, constants.EXECUTE)


class StatementCancelled(ConsoleError):
    """The client cancelled a statement that was waiting.

    The code is PostgreSQL's query_canceled, so that drivers know it.
    """

    text = "canceling statement due to user request"
    sqlstate = "57014"


@dataclass(frozen=True, slots=True)
class Reply:
    """What to send to the client, and whether to close its connection then."""

    data: bytes
    close: bool = False
    faults: tuple[Fault, ...] = ()
    """What went wrong, for the client's own log lines."""


class Console:
    """Answers the messages of one console client.

    ``is_admin`` tells whether its user may do more than look.
    """

    def __init__(
        self,
        view: View,
        control: Control,
        *,
        is_admin: bool,
        log: ConsoleLog,
    ) -> None:
        """Take what the console reads, what it commands, and where it logs."""
        self._view = view
        self._control = control
        self._is_admin = is_admin
        self._log = log
        self._waiting: Deferred[None] | None = None

    def message(self, kind: int, body: bytes) -> Reply | Deferred[Reply]:
        """Return the reply to a message: its type byte and its body.

        Nothing is raised for what a client may do wrong.
        """
        if kind == constants.QUERY:
            try:
                text = decode.query(body).decode("utf-8", "surrogateescape")
            except ProtocolViolation as fault:
                return self._ending(fault)
            return self.query(text)
        if kind == constants.TERMINATE:
            return Reply(b"", close=True, faults=(SilentClose("close req"),))
        if kind in EXTENDED_QUERY:
            return self._ending(ExtendedProtocolUnsupported(), ProtocolViolation())
        return self._ending(ConsolePacketUnsupported(type=kind), ProtocolViolation())

    def query(self, text: str) -> Reply | Deferred[Reply]:
        """Return the reply to a statement, ReadyForQuery included."""
        try:
            statement = parse(text)
            if isinstance(statement, Setting):
                return self._done(*self._set(statement))
            if isinstance(statement, Explanation):
                return self._done(self._explain(statement), "EXPLAIN")
            if statement.verb == "show":
                return self._done(self._show(statement.argument, text), "SHOW")
            return self._command(statement, text)
        except ConsoleError as fault:
            return self._refused(fault)

    def cancel(self) -> None:
        """Act on a cancel request: end the wait, and PAUSE or SUSPEND of all.

        As in the reference, an admin's cancel request is a RESUME, whether or not
        it was this client that paused. Unlike there, the waiting statement is
        answered, with an error: drivers wait for an answer after a cancel request.
        """
        self.closed()
        state = self._view.state()
        is_held = state.paused or state.suspended
        if self._is_admin and is_held and not state.shutting_down:
            self._control.resume(None)

    def closed(self) -> None:
        """Give up a waiting statement, because its client is gone."""
        if self._waiting is not None:
            self._waiting.cancel()

    # ------------------------------------------------------------------ statements

    def _show(self, name: str | None, text: str) -> bytes:
        """Return the messages of SHOW before its CommandComplete."""
        wanted = (name or "").lower()
        if wanted == "help":
            return encode.notice_response(ConsoleUsage(detail=USAGE))
        if wanted == "fds":
            # Descriptors and secrets are handed to nobody; who may not even ask is
            # told so first, as by the reference.
            self._need_admin()
        data = show(wanted, self._view)
        if data is None:
            raise InvalidCommand(command=text)
        return data

    def _explain(self, wanted: Explanation) -> bytes:
        """Return the messages of EXPLAIN ROUTE; it runs the user's functions."""
        self._need_admin()
        return explained(self._view.route(wanted.query, wanted.user, wanted.database))

    def _set(self, setting: Setting) -> tuple[bytes, str]:
        """Carry out SET; return the messages before CommandComplete, and its tag."""
        key, value = setting
        if key.lower() in IGNORED_SETTINGS:
            return encode.notice_response(SetIgnored()), "SET"
        self._need_admin()
        if not self._control.set(key, value):
            raise SetFailed
        return b"", f"SET {key}={value}"

    def _command(self, command: Command, text: str) -> Reply | Deferred[Reply]:
        """Carry out any other command."""
        if command.verb not in VERBS:
            raise InvalidCommand(command=text)
        self._need_admin()
        waiting = run_verb(
            command.verb,
            command.argument,
            statement=text,
            control=self._control,
            log=self._log,
        )
        if command == Command("shutdown"):
            return Reply(b"", close=True)
        tag = command.verb.upper()
        if waiting is None:
            return self._done(b"", tag)
        self._waiting = waiting
        return waiting.addBoth(self._waited).addCallbacks(
            lambda _: self._done(b"", tag), self._failed
        )

    def _waited(self, result: T) -> T:
        self._waiting = None
        return result

    def _failed(self, failure: Failure) -> Reply | Failure:
        """Turn the end of a wait that failed into a reply."""
        fault = failure.value
        if isinstance(fault, CancelledError):
            return self._refused(StatementCancelled())
        if isinstance(fault, ConsoleError):
            return self._refused(fault)
        return failure

    def _need_admin(self) -> None:
        if not self._is_admin:
            raise AdminAccessNeeded

    # --------------------------------------------------------------------- replies

    def _done(self, data: bytes, tag: str) -> Reply:
        """Return the reply of a statement that succeeded."""
        return Reply(data + encode.command_complete(tag) + encode.ready_for_query())

    def _refused(self, fault: ConsoleError) -> Reply:
        """Return the reply of a statement that failed; the connection stays."""
        self._log.error(fault.text)
        data = encode.error_response(fault) + encode.ready_for_query()
        return Reply(data, faults=(fault,))

    def _ending(self, *faults: Fault) -> Reply:
        """Return faults as a reply, ReadyForQuery behind an ERROR, then the end."""
        parts = []
        for fault in faults:
            parts.append(encode.error_response(fault))
            if fault.severity == "ERROR":
                self._log.error(fault.text)
                parts.append(encode.ready_for_query())
        return Reply(b"".join(parts), close=True, faults=faults)
