"""Carries out a script and checks every answer.

Each query asks for a unique text, so that the answer to another client is noticed.
Errors are expected after an injected fault; any other is a violation.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from soak.script import DATABASE, USERS, Disconnect, Session, Step
from testkit.pgwire import (
    EXECUTE,
    SYNC,
    TERMINATE,
    AsyncConnection,
    Disconnected,
    Message,
    NoAnswer,
    bind,
    message,
    parse,
    query,
)

ADMIN_SHUTDOWN, CANCELED = "57P01", "57014"
KILLED = {
    "terminating connection due to administrator command",
    "server conn crashed?",
    "admin forced disconnect",
}
"""Messages to clients whose server was ended, or that were killed themselves."""

TIMEOUT_S = 100.0
"""For each message; less than query_wait_timeout, which must never be reached."""
ZONES = ("Europe/Oslo", "Asia/Tokyo", "America/Lima")
STATEMENTS = 30
"""Different prepared statements, shared by all clients."""
COPY_ROWS, LARGE_ROWS = 100, 300


class Violation(Exception):
    """Something that must not happen; the text says what."""


class ConnectionLost(Exception):
    """The connection ended for an expected reason."""


@dataclass(slots=True)
class Tally:
    """What all clients did, how their connections ended, and what was wrong."""

    steps: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    open: int = 0


class Client:
    """One client, which runs session after session."""

    def __init__(
        self, number: int, port: int, tally: Tally, script: Iterator[Session]
    ) -> None:
        """``tally`` is shared by all clients."""
        self.number = number
        self._port = port
        self._tally = tally
        self._script = script
        self._asked = 0
        self._connection: AsyncConnection
        self._prepared: set[int] = set()
        self._sql_prepared: set[str] = set()

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Run sessions until ``is_over``; the current one may finish its step."""
        for session in self._script:
            if is_over():
                return
            try:
                await self._run_session(session, is_over)
            except ConnectionLost as lost:
                self._tally.ends[str(lost)] += 1
            except NoAnswer:
                self._wrong("no answer came")
            except Violation as wrong:
                self._wrong(str(wrong))
            else:
                self._tally.ends[session.disconnect.value] += 1

    def _wrong(self, what: str) -> None:
        self._tally.wrong.append(f"client {self.number}: {what}")

    async def _run_session(self, session: Session, is_over: Callable[[], bool]) -> None:
        try:
            self._connection = await AsyncConnection.open(self._port, TIMEOUT_S)
        except Disconnected as gone:
            raise Violation(f"cannot connect: {gone}") from None
        self._prepared.clear()
        self._sql_prepared.clear()
        self._tally.open += 1
        try:
            if session.disconnect is Disconnect.IN_LOGIN:
                self._connection.send(b"\0\0\0\x40\0\3\0\0user\0so")
                self._connection.reset()
                return
            user = USERS[self.number % len(USERS)]
            self._check(await self._connection.log_in(user, DATABASE))
            for pause, step in session.steps:
                await asyncio.sleep(pause)
                if is_over():
                    break
                await STEPS[step](self)
                self._tally.steps[step.value] += 1
            await self._disconnect(session.disconnect)
        except Disconnected:
            raise ConnectionLost("hung up") from None
        finally:
            self._tally.open -= 1
            self._connection.reset()

    # Answers.

    def _token(self) -> str:
        """Return a text that no other query asks for."""
        self._asked += 1
        return f"{self.number}.{self._asked}"

    def _check(self, said: list[Message], *expected: str) -> None:
        """Raise ConnectionLost or Violation for an error with another SQLSTATE."""
        for one in said:
            if one.kind != b"E":
                continue
            fields = one.error_fields()
            if fields["C"] in expected:
                continue
            if fields["M"] in KILLED or fields["C"] == ADMIN_SHUTDOWN:
                raise ConnectionLost(fields["M"])
            raise Violation(f"{fields['S']} {fields['C']} {fields['M']}")

    async def _ask(
        self, data: bytes, *rows: str, expected: tuple[str, ...] = ()
    ) -> None:
        """Send a request; the first columns of its rows must be these texts."""
        self._connection.send(data)
        said = await self._connection.read_answer()
        self._check(said, *expected)
        got = [one.values()[0] for one in said if one.kind == b"D"]
        if got != list(rows):
            raise Violation(f"asked for {rows!r:.200}, got {got!r:.200}")

    # Steps.

    async def _query(self) -> None:
        token = self._token()
        await self._ask(query(f"SELECT '{token}'"), token)

    async def _prepare(self) -> None:
        token = self._token()
        which = self._asked * 7 % STATEMENTS
        data = b""
        if which not in self._prepared:
            self._prepared.add(which)
            data = parse(f"s{which}", f"SELECT $1::text || '-{which}'")
        await self._ask(
            data + bind(f"s{which}", token) + EXECUTE + SYNC, f"{token}-{which}"
        )

    async def _prepare_by_sql(self) -> None:
        token = self._token()
        name = f"q{self._asked * 7 % STATEMENTS}"
        if name in self._sql_prepared:
            await self._ask(query(f"DEALLOCATE {name}"))
        text = f"PREPARE {name} (text) AS SELECT $1 || ';{name}'"
        await self._ask(query(text))
        self._sql_prepared.add(name)
        for _ in range(2):
            await self._ask(query(f"EXECUTE {name} ('{token}')"), f"{token};{name}")

    async def _transact(self, end: str = "COMMIT") -> None:
        token = self._token()
        await self._ask(query("BEGIN"))
        await self._ask(query(f"SELECT '{token}'"), token)
        await asyncio.sleep(0.01)
        await self._ask(query(end))

    async def _roll_back(self) -> None:
        await self._transact("ROLLBACK")

    async def _fail(self) -> None:
        await self._ask(query("SELECT 1/0"), expected=("22012",))

    async def _pipeline(self) -> None:
        tokens = [self._token() for _ in range(3)]
        parts = [parse("", f"SELECT '{one}'") + bind("") + EXECUTE for one in tokens]
        await self._ask(b"".join(parts) + SYNC, *tokens)

    async def _fail_in_pipeline(self) -> None:
        token = self._token()
        parts = [
            parse("", f"SELECT '{token}'") + bind("") + EXECUTE,
            parse("", "SELECT 1/0") + bind("") + EXECUTE,
            parse("", "SELECT 'skipped'") + bind("") + EXECUTE,
        ]
        await self._ask(b"".join(parts) + SYNC, token, expected=("22012",))

    async def _copy_out(self) -> None:
        token = self._token()
        text = f"COPY (SELECT '{token}' FROM generate_series(1, {COPY_ROWS})) TO STDOUT"
        self._connection.send(query(text))
        said = await self._connection.read_answer()
        self._check(said)
        rows = [one.body for one in said if one.kind == b"d"]
        if rows != [f"{token}\n".encode()] * COPY_ROWS:
            raise Violation(f"COPY out gave {rows!r:.200}")

    async def _copy_in(self, end: bytes = b"c") -> None:
        self._connection.send(query("COPY sink FROM STDIN"))
        self._check(await self._connection.read_answer(b"G"))
        self._connection.send(message(b"d", b"line\n") * COPY_ROWS)
        fails = end == b"f"
        self._connection.send(message(end, b"given up\0" if fails else b""))
        self._check(
            await self._connection.read_answer(), *((CANCELED,) if fails else ())
        )

    async def _copy_in_fails(self) -> None:
        await self._copy_in(b"f")

    async def _large_result(self) -> None:
        row = "x" * 1000
        text = f"SELECT repeat('x', 1000) FROM generate_series(1, {LARGE_ROWS})"
        await self._ask(query(text), *[row] * LARGE_ROWS)

    async def _parameter(self) -> None:
        zone = ZONES[self._asked % len(ZONES)]
        await self._ask(query(f"SET TimeZone = '{zone}'"))
        await self._ask(query("SHOW TimeZone"), zone)

    async def _cancel(self) -> None:
        self._connection.send(query("SELECT pg_sleep(1)"))
        await asyncio.sleep(0.05)
        await self._connection.cancel(self._connection.key)
        self._check(await self._connection.read_answer(), CANCELED)

    async def _cancel_nothing(self) -> None:
        await self._connection.cancel(self._connection.key)

    async def _cancel_falsely(self) -> None:
        await self._connection.cancel(self._asked.to_bytes(8, "big"))

    # Disconnecting.

    async def _disconnect(self, how: Disconnect) -> None:
        """Disconnect; the caller resets what is not closed here."""
        connection = self._connection
        if how is Disconnect.POLITELY:
            connection.send(TERMINATE)
            await connection.close()
        elif how is Disconnect.HANGING_UP:
            await connection.close()
        elif how is Disconnect.IN_QUERY:
            connection.send(query("SELECT pg_sleep(0.3)"))
            await asyncio.sleep(0.1)
        elif how is Disconnect.IN_TRANSACTION:
            await self._ask(query("BEGIN"))
        elif how is Disconnect.IN_COPY:
            connection.send(query("COPY sink FROM STDIN"))
            self._check(await connection.read_answer(b"G"))
        elif how is Disconnect.IN_MESSAGE:
            connection.send(query("SELECT 'cut'")[:9])
            await asyncio.sleep(0.05)
        elif how is Disconnect.UNREAD:
            connection.send(query("SELECT repeat('x', 1000000)"))
            await asyncio.sleep(0.05)


STEPS: dict[Step, Callable[[Client], Awaitable[None]]] = {
    Step.QUERY: Client._query,
    Step.PREPARED: Client._prepare,
    Step.SQL_PREPARED: Client._prepare_by_sql,
    Step.TRANSACTION: Client._transact,
    Step.ROLLBACK: Client._roll_back,
    Step.FAILURE: Client._fail,
    Step.PIPELINE: Client._pipeline,
    Step.FAILING_PIPELINE: Client._fail_in_pipeline,
    Step.COPY_OUT: Client._copy_out,
    Step.COPY_IN: Client._copy_in,
    Step.COPY_IN_FAILS: Client._copy_in_fails,
    Step.LARGE_RESULT: Client._large_result,
    Step.PARAMETER: Client._parameter,
    Step.CANCEL: Client._cancel,
    Step.STRAY_CANCEL: Client._cancel_nothing,
    Step.FALSE_CANCEL: Client._cancel_falsely,
}
