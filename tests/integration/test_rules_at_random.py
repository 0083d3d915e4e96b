"""Clients at random before two databases: each query runs where the rules send it.

A model of one client says what is to come back: rows with the name of the database, the
SQLSTATEs of errors, the status at the end.  Several clients share few servers.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from pgswitch.demo.postgres import PostgresServer
from testkit.pgwire import error_fields
from tests.fakes.messages import message, query
from tests.integration.running import PgSwitch, PgSwitchFactory, RawClient
from tests.integration.test_rules_trouble import (
    FLUSH,
    SYNC,
    by_comment,
    parse,
    run,
)

ONE_INSTALLATION = True

CLIENTS, SERVERS, UNITS = 6, 3, 60
NAMES = {"bench": b"bench", "two": b"other"}
SELECT, FAIL = "SELECT current_database()", "SELECT 1/0"
BEGIN, COMMIT, ROLLBACK = "BEGIN", "COMMIT", "ROLLBACK"
REFUSED, ABORTED, DIVISION = b"25001", b"25P02", b"22012"

Expected = tuple[list[bytes], str]
"""Values and SQLSTATEs in order, and the status of ReadyForQuery."""


class Model:
    """What one client should see."""

    def __init__(self, random: Random) -> None:
        """Begin in the database that the client logged in to, outside transactions."""
        self.random = random
        self.place = "bench"
        self.status = "I"
        self.statements: dict[bytes, tuple[str, str]] = {}
        """Verb and key by name."""
        self.answers: list[bytes] = []
        self.failed = False
        """The pipeline is skipped to its Sync."""

    def next(self) -> tuple[bytes, Expected]:
        """Return a Query or a pipeline, and what comes back."""
        self.answers, self.failed = [], False
        data = self._query() if self.random.random() < 0.4 else self._pipeline()
        return data, (self.answers, self.status)

    def _draw(self, *, is_first: bool) -> tuple[str, str]:
        verbs = [SELECT] * 8 + [FAIL]
        if is_first:
            verbs += [BEGIN] if self.status == "I" else [COMMIT, COMMIT, ROLLBACK]
        return self.random.choice(verbs), self.random.choice(["bench", "two", ""])

    def _query(self) -> bytes:
        verb, key = self._draw(is_first=True)
        if self._may_go(verb, key, is_inside=self.status != "I"):
            self._execute(verb)
        return query(f"{verb} --{key}")

    def _pipeline(self) -> bytes:
        data = b""
        for number in range(self.random.randint(1, 4)):
            data += self._step(is_first=number == 0)
            if self.random.random() < 0.2:
                data += FLUSH
        return data + SYNC

    def _step(self, *, is_first: bool) -> bytes:
        """Return one statement of a pipeline, new or prepared before."""
        is_inside = self.status != "I" or not is_first
        name = self.random.choice([b"", b"", b"s1", b"s2", b"s3"])
        # Whether a Parse in a failed transaction fails depends on who has it already.
        name = b"" if self.status == "E" else name
        if name in self.statements and self.random.random() < 0.6:
            verb, key = self.statements[name]
            if verb in (SELECT, FAIL) or is_first:
                if self._may_go("", key, is_inside=is_inside):
                    self._execute(verb)
                return run(name)
        verb, key = self._draw(is_first=is_first)
        data = b""
        if name in self.statements:
            data = message(b"C", b"S" + name + b"\0")
            if not self.failed:
                del self.statements[name]
        data += parse(f"{verb} --{key}", name)
        if self._may_go(verb, key, is_inside=is_inside):
            if name and not self.failed:
                home = "" if verb in (COMMIT, ROLLBACK) else key
                self.statements[name] = verb, home
            self._execute(verb)
        return data + run(name)

    def _may_go(self, verb: str, key: str, *, is_inside: bool) -> bool:
        """Go where the rule says; False when that is refused or nothing is done."""
        if self.failed:
            return False
        if not key or key == self.place:
            return True
        if not is_inside:
            self.place = key
        elif self.status != "E" and verb not in (COMMIT, ROLLBACK):
            self._fail(REFUSED)
            return False
        return True

    def _execute(self, verb: str) -> None:
        if self.failed:
            return
        if verb in (COMMIT, ROLLBACK):
            self.status = "I"
        elif self.status == "E":
            self._fail(ABORTED)
        elif verb == BEGIN:
            self.status = "T"
        elif verb == FAIL:
            self._fail(DIVISION)
        else:
            self.answers.append(NAMES[self.place])

    def _fail(self, sqlstate: bytes) -> None:
        self.answers.append(sqlstate)
        self.failed = True
        if self.status != "I":
            self.status = "E"


@pytest.fixture(scope="module")
def pooler(postgres: PostgresServer, module_pgswitch: PgSwitchFactory) -> PgSwitch:
    """Return a pgswitch where a comment says where a query goes."""
    return by_comment(module_pgswitch, postgres, default_pool_size=SERVERS)


def heard(client: RawClient) -> Expected:
    """Return what came back up to ReadyForQuery."""
    answers = []
    for kind, body in client.read_until(b"Z"):
        if kind == b"D":
            answers.append(body[6:])
        elif kind == b"E":
            answers.append(error_fields(body)["C"].encode())
    return answers, body.decode()


def session(port: int, seed: int) -> None:
    """Be one client: some units at once, in pieces, then all that comes back."""
    random = Random(seed)
    model = Model(random)
    with RawClient(port) as client:
        client.log_in()
        for _ in range(UNITS):
            units = [model.next()]
            # What follows an error cannot know what that has undone.
            while not model.failed and random.random() < 0.6:
                units.append(model.next())
            data = b"".join(unit for unit, _ in units)
            while data:
                size = random.choice([1, 5, 30, 1000])
                client.send(data[:size])
                data = data[size:]
            for unit, expected in units:
                assert heard(client) == expected, (seed, unit)


def test_where_queries_run(pooler: PgSwitch) -> None:
    """Whatever was asked before, ahead, prepared, closed, skipped or refused."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        done = [pool.submit(session, pooler.port, seed) for seed in range(3 * CLIENTS)]
    for one in done:
        one.result()
