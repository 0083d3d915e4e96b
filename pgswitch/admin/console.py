"""One client's session with the admin console: message in, reply bytes out.

The frontend hands over every message of a console client that has logged in, and
sends what comes back. A statement that waits (PAUSE, WAIT_CLOSE) is answered through
a Deferred; until then the frontend reads no further message of that client, only a
cancel request can arrive.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, TypeVar

from twisted.internet.defer import CancelledError, Deferred

from pgswitch.admin.extended import ExtendedQueries, Portal, fetched
from pgswitch.admin.grammar import parse
from pgswitch.admin.rows import MESSAGES_A_SLICE, data_rows, description, sliced
from pgswitch.admin.show import REFERENCE_VERSION
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

    from pgswitch.admin.grammar import ConsoleStatement
    from pgswitch.admin.interfaces import ConsoleLog, Control, View
    from pgswitch.admin.rows import Column
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
    """What to send to the client, and whether to close its connection then."""

    data: bytes
    close: bool = False
    faults: tuple[Fault, ...] = ()
    """What went wrong, for the client's own log lines."""
    attached: tuple[tuple[int, int], ...] = ()
    """Places in ``data``, and the descriptors that go along with what is there."""
    rest: Iterator[bytes] | None = None
    """What is to be sent behind ``data``, made piece by piece when it is asked for."""


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
        is_owner: bool = False,
        log: ConsoleLog,
        counters: Counters,
    ) -> None:
        """Take what the console reads, what it commands, where it logs and counts.

        ``is_owner``: the process's own user, on the unix socket, who may have
        descriptors.
        """
        self._counters = counters
        self._is_counted = False
        """Until Sync, as a batch of the extended protocol counts once."""
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
        """Until Sync, after an error in the extended protocol."""

    def message(self, kind: int, body: bytes) -> Reply | Deferred[Reply]:
        """Return the reply to a message: its type byte and its body.

        Nothing is raised for what a client may do wrong.
        """
        try:
            if kind == constants.QUERY:
                return self.query(decode.text(decode.query(body)))
            if kind in EXTENDED:
                return self._extended_query(kind, body)
        except ProtocolViolation as fault:
            return self._ending(fault)
        if kind == constants.TERMINATE:
            return Reply(b"", close=True, faults=(SilentClose("client close request"),))
        return self._ending(ConsolePacketUnsupported(type=kind), ProtocolViolation())

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
            return self._carry_out(parse(text), text, self._simple, self._refused)
        except ConsoleError as fault:
            return self._refused(fault)

    def _count(self) -> None:
        """Count a statement, before it is carried out: SHOW STATS counts itself.

        As PgBouncer does: each is a transaction, and neither bytes nor times count.
        """
        self._counters.query_count += 1
        self._counters.xact_count += 1

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

    def _execute(self, portal: Portal, limit: int) -> Reply | Deferred[Reply]:
        """Carry out what a portal holds, or fetch more of what it gave."""
        if portal.outcome is not None:
            return _in_pieces(fetched(portal, portal.outcome, limit))
        prepared = portal.prepared
        return self._carry_out(
            prepared.statement,
            prepared.text,
            lambda outcome: _in_pieces(fetched(portal, outcome, limit)),
            self._skip,
        )

    def _carry_out(
        self,
        statement: ConsoleStatement,
        text: str,
        answer: Answer,
        refuse: Callable[[ConsoleError], Reply],
    ) -> Reply | Deferred[Reply]:
        """Return what ``answer`` makes of the outcome, or ``refuse`` of an error."""
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
        self,
        head: bytes,
        outcome: StatementResult,
        columns: tuple[Column, ...],
        tail: bytes,
    ) -> Reply:
        """Return an answer in one piece, for the successor; all stands still for it."""
        rows = [row for row in outcome.rows if row]
        parts = [head]
        attached: list[tuple[int, int]] = []
        place = len(head)
        for row, message in zip(rows, data_rows(columns, rows), strict=True):
            parts.append(message)
            attached.append((place, int(row[0] or 0)))
            place += len(message)
        parts.append(tail)
        return Reply(b"".join(parts), attached=tuple(attached))

    def _refused(self, fault: ConsoleError) -> Reply:
        """Return the reply of a statement that failed; the connection stays."""
        self._log.error(fault.text)
        data = encode.error_response(fault) + encode.ready_for_query()
        return Reply(data, faults=(fault,))

    def _skip(self, fault: ConsoleError) -> Reply:
        """Return the same in the extended protocol: ReadyForQuery comes with Sync."""
        self._log.error(fault.text)
        self._skipping = True
        return Reply(encode.error_response(fault), faults=(fault,))

    def _ending(self, *faults: Fault) -> Reply:
        """Return faults as a reply, ReadyForQuery behind an ERROR, then the end."""
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
"""What answers each message; Execute is answered elsewhere, for it may take time."""


def _in_pieces(messages: Iterator[bytes]) -> Reply:
    """Return a reply that begins with the first piece of an answer."""
    first = list(islice(messages, MESSAGES_A_SLICE))
    rest = sliced(messages) if len(first) == MESSAGES_A_SLICE else None
    return Reply(b"".join(first), rest=rest)


def _replied(outcome: StatementResult, answer: Answer) -> Reply:
    return Reply(b"", close=True) if outcome.is_end else answer(outcome)


def _failed(failure: Failure, refuse: Callable[[ConsoleError], Reply]) -> Reply:
    """Turn the end of a wait that failed into a reply; other failures stay such."""
    if failure.check(CancelledError):
        return refuse(StatementCancelled())
    if not isinstance(failure.value, ConsoleError):
        failure.raiseException()
    return refuse(failure.value)
