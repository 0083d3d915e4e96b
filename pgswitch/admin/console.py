"""One client's session with the admin console: message in, reply bytes out.

The frontend passes in every message of a console client that has logged in, and sends
the reply. A statement that waits (PAUSE, WAIT_CLOSE) is answered through a Deferred.
Until it fires, the frontend reads no message of that client; only a cancel request can
arrive.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from twisted.internet.defer import CancelledError, Deferred

from pgswitch.admin.extended import ExtendedQueries, Portal, fetch
from pgswitch.admin.grammar import parse
from pgswitch.admin.result_set import MESSAGES_PER_SLICE, data_rows, description, slices
from pgswitch.admin.show.service import REFERENCE_VERSION
from pgswitch.admin.statements import ConsoleStatements, StatementResult
from pgswitch.errors import (
    ConsoleError,
    ConsolePacketUnsupported,
    Fault,
    ProtocolViolation,
    SilentClose,
    StatementCancelled,
)
from pgswitch.wire import constants, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twisted.python.failure import Failure

    from pgswitch.admin.commands import ConsoleLog, Control
    from pgswitch.admin.grammar import ConsoleStatement
    from pgswitch.admin.result_set import Columns
    from pgswitch.admin.view import ServiceView
    from pgswitch.stats.counters import Counters

    T = TypeVar("T")
    Answer = Callable[[StatementResult], "Reply"]

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


@dataclass(frozen=True, slots=True)
class Reply:
    """What to send to the client, and whether to close its connection after that."""

    data: bytes
    close: bool = False
    faults: tuple[Fault, ...] = ()
    """Errors in the reply, for the log lines of the client."""
    attached: tuple[tuple[int, int], ...] = ()
    """Offsets in ``data``, each with the descriptor to send along with that byte."""
    rest: Iterator[bytes] | None = None
    """What to send after ``data``, made piece by piece on demand."""


class Console:
    """Answers the messages of one console client.

    ``is_admin`` tells whether its user may do more than look.
    """

    def __init__(
        self,
        view: ServiceView,
        control: Control,
        *,
        is_admin: bool,
        is_owner: bool = False,
        log: ConsoleLog,
        counters: Counters,
    ) -> None:
        """Take what the console reads, what it commands, where it logs and counts.

        ``is_owner`` is true for the process's own user on the unix socket, who may
        receive descriptors.
        """
        self._counters = counters
        self._is_counted = False
        """A batch of the extended protocol counts once, until Sync."""
        self._is_owner = is_owner
        self._view = view
        self._control = control
        self._is_admin = is_admin
        self._log = log
        self._statements = ConsoleStatements(
            view, control, is_admin=is_admin, is_owner=is_owner, log=log
        )
        self._extended = ExtendedQueries(self._statements)
        self._waiting: Deferred[StatementResult] | None = None
        self._skipping = False
        """Skip messages until Sync, after an error in the extended protocol."""

    def message(self, kind: int, body: bytes) -> Reply | Deferred[Reply]:
        """Return the reply to a message: its type byte and its body.

        An error of the client is part of the reply and raises nothing.
        """
        try:
            if kind == constants.QUERY:
                return self.query(decode.text(decode.query(body)))
            if kind in EXTENDED:
                return self._extended_query(kind, body)
        except ProtocolViolation as fault:
            return self._close_with(fault)
        if kind == constants.TERMINATE:
            return Reply(b"", close=True, faults=(SilentClose("client close request"),))
        return self._close_with(
            ConsolePacketUnsupported(type=kind), ProtocolViolation()
        )

    def _extended_query(self, kind: int, body: bytes) -> Reply | Deferred[Reply]:
        """Return the reply to a message of the extended protocol."""
        if not self._is_counted:
            self._count()
        self._is_counted = kind != constants.SYNC
        if kind == constants.SYNC:
            self._skipping = False
        elif self._skipping:
            return Reply(b"")
        try:
            if kind == constants.EXECUTE:
                return self._execute(*self._extended.execute(body))
            return Reply(EXTENDED[kind](self._extended, body))
        except ConsoleError as fault:
            return self._skip(fault)

    def query(self, text: str) -> Reply | Deferred[Reply]:
        """Return the reply to a statement, ReadyForQuery included."""
        self._skipping = self._is_counted = False
        self._count()
        try:
            return self._run(parse(text), text, self._simple, self._refused)
        except ConsoleError as fault:
            return self._refused(fault)

    def _count(self) -> None:
        """Count a statement before it runs, so that SHOW STATS counts itself.

        As in PgBouncer, each is a transaction, and neither bytes nor times count.
        """
        self._counters.query_count += 1
        self._counters.xact_count += 1

    def cancel(self) -> None:
        """Act on a cancel request: end the wait, and a PAUSE or SUSPEND of all.

        As in PgBouncer, an admin's cancel request is a RESUME, whether or not this
        client paused. Unlike PgBouncer, we answer the waiting statement with an error:
        drivers wait for an answer after a cancel request.
        """
        self.closed()
        context = self._view.context
        is_held = context.paused or context.suspended
        if self._is_admin and is_held and not self._view.login_service.shutting_down:
            self._control.resume(None)

    def closed(self) -> None:
        """Cancel a waiting statement, because its client is gone."""
        if self._waiting is not None:
            self._waiting.cancel()

    # ------------------------------------------------------------------ statements

    def _execute(self, portal: Portal, limit: int) -> Reply | Deferred[Reply]:
        """Run the statement of a portal, or fetch more of its rows."""
        if portal.outcome is not None:
            return _in_pieces(fetch(portal, portal.outcome, limit))
        prepared = portal.prepared
        return self._run(
            prepared.statement,
            prepared.text,
            lambda outcome: _in_pieces(fetch(portal, outcome, limit)),
            self._skip,
        )

    def _run(
        self,
        statement: ConsoleStatement,
        text: str,
        answer: Answer,
        refuse: Callable[[ConsoleError], Reply],
    ) -> Reply | Deferred[Reply]:
        """Run a statement; give its outcome to ``answer``, its error to ``refuse``."""
        outcome = self._statements.run(statement, text)
        if isinstance(outcome, StatementResult):
            return _replied(outcome, answer)
        self._waiting = outcome
        return outcome.addBoth(self._waited).addCallbacks(
            lambda outcome: _replied(outcome, answer),
            lambda failure: _failed(failure, refuse),
        )

    def _waited(self, result: T) -> T:
        self._waiting = None
        return result

    # --------------------------------------------------------------------- replies

    def _simple(self, outcome: StatementResult) -> Reply:
        """Return the answer to a simple Query."""
        if not outcome.tag:
            return Reply(encode.empty_query_response() + encode.ready_for_query())
        notice, columns = outcome.notice, outcome.columns
        head = b"" if notice is None else encode.notice_response(notice)
        tail = encode.command_complete(outcome.tag) + encode.ready_for_query()
        if columns is None:
            return Reply(head + tail)
        head += description(columns)
        if outcome.attaches and self._is_owner:
            return self._attached(head, outcome, columns, tail)
        return _in_pieces(chain((head,), data_rows(columns, outcome.rows), (tail,)))

    def _attached(
        self, head: bytes, outcome: StatementResult, columns: Columns[Any], tail: bytes
    ) -> Reply:
        """Return an answer with descriptors, in one piece: it blocks the event loop."""
        rows = [row for row in outcome.rows if row]
        parts = [head]
        attached: list[tuple[int, int]] = []
        offset = len(head)
        for row, message in zip(rows, data_rows(columns, rows), strict=True):
            parts.append(message)
            attached.append((offset, int(row[0] or 0)))
            offset += len(message)
        parts.append(tail)
        return Reply(b"".join(parts), attached=tuple(attached))

    def _refused(self, fault: ConsoleError) -> Reply:
        """Return the reply to a simple Query that failed; the connection stays open."""
        self._log.error(fault.text)
        data = encode.error_response(fault) + encode.ready_for_query()
        return Reply(data, faults=(fault,))

    def _skip(self, fault: ConsoleError) -> Reply:
        """Return the reply to an Execute that failed; ReadyForQuery comes with Sync."""
        self._log.error(fault.text)
        self._skipping = True
        return Reply(encode.error_response(fault), faults=(fault,))

    def _close_with(self, *faults: Fault) -> Reply:
        """Return faults as the last reply, with ReadyForQuery after an ERROR."""
        parts = []
        for fault in faults:
            parts.append(encode.error_response(fault))
            if fault.severity == "ERROR":
                self._log.error(fault.text)
                parts.append(encode.ready_for_query())
        return Reply(b"".join(parts), close=True, faults=faults)


EXTENDED: Final[dict[int, Callable[[ExtendedQueries, bytes], bytes]]] = {
    constants.PARSE: ExtendedQueries.parse,
    constants.BIND: ExtendedQueries.bind,
    constants.DESCRIBE: ExtendedQueries.describe,
    constants.EXECUTE: ExtendedQueries.nothing,
    constants.CLOSE: ExtendedQueries.close,
    constants.FLUSH: ExtendedQueries.nothing,
    constants.SYNC: ExtendedQueries.sync,
}
"""The method for each message. Execute may take time: see ``Console._execute``."""


def _in_pieces(messages: Iterator[bytes]) -> Reply:
    """Return a reply with the first slice of an answer; the rest follows on demand."""
    first = list(islice(messages, MESSAGES_PER_SLICE))
    rest = slices(messages) if len(first) == MESSAGES_PER_SLICE else None
    return Reply(b"".join(first), rest=rest)


def _replied(outcome: StatementResult, answer: Answer) -> Reply:
    return Reply(b"", close=True) if outcome.is_end else answer(outcome)


def _failed(failure: Failure, refuse: Callable[[ConsoleError], Reply]) -> Reply:
    """Return the reply to a wait that failed; raise what is not a console error."""
    if failure.check(CancelledError):
        return refuse(StatementCancelled())
    if not isinstance(failure.value, ConsoleError):
        failure.raiseException()
    return refuse(failure.value)
