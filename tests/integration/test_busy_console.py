"""The console answers at once, however much there is to do."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import NamedTuple

import pytest

from pgswitch.demo.postgres import Installation
from tests.fakes.messages import READY, query
from tests.integration.running import ADMIN, PgSwitchFactory, RawClient
from tests.waiting import wait_until

ONE_INSTALLATION = True

CLIENTS = 2000
ANSWER_S = 0.1
SPIN_S = 0.005
ROUNDS = 5
BATCHES = 4
"""Other tests have the processors for a second at a time: a slow batch is repeated."""
WORDS = (
    *("POOLS", "STATS", "LISTS", "DATABASES", "STATE", "VERSION", "SERVERS"),
    *("CLIENTS", "SOCKETS"),
)
DESCRIPTORS = CLIENTS + 500
COPY = (
    "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 1000000) AS a,"
    " generate_series(1, 20) AS b) TO STDOUT"
)
"""Twenty gigabytes; the test ends before it does."""


class Answer(NamedTuple):
    """One answer: seconds that it took, how slow the machine was, its rows."""

    took: float
    slowness: float
    rows: int


def slowness() -> float:
    """Return how much longer work takes now than with a processor of its own."""
    begin, used = time.monotonic(), time.process_time()
    while time.process_time() - used < SPIN_S:
        pass
    return max((time.monotonic() - begin) / SPIN_S, 1.0)


def everything(client: RawClient) -> bytes:
    """Return all that a client is sent up to ReadyForQuery."""
    data = b""
    while not data.endswith(READY):
        data += client.socket.recv(1 << 20)
    return data


def rows_in(data: bytes) -> int:
    """Return how many DataRows there are among messages."""
    count = at = 0
    while at < len(data):
        count += data[at : at + 1] == b"D"
        at += 1 + int.from_bytes(data[at + 1 : at + 5], "big")
    return count


@pytest.fixture
def _many_descriptors() -> Iterator[None]:
    """Allow as many sockets as the test has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (min(hard, max(soft, DESCRIPTORS)), hard)
    )
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("_many_descriptors")
def test_the_console_is_quick(
    pgswitch: PgSwitchFactory, installation: Installation
) -> None:
    """Within 100 ms with 2,000 clients there and a bulk transfer under way."""
    pooler = pgswitch(
        auth_type="trust",
        pool_mode="transaction",
        max_client_conn=CLIENTS + 100,
        listen_backlog=1000,
        log_connections=0,
        log_disconnections=0,
    )
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            stack.enter_context(RawClient(pooler.port)).log_in()
        console = stack.enter_context(RawClient(pooler.port))
        console.log_in(ADMIN, "pgbouncer")

        def ask(word: str) -> Answer:
            """Ask the console, and report the machine's other load with the answer."""
            now = slowness()
            begin = time.monotonic()
            console.send(query(f"SHOW {word}"))
            data = everything(console)
            return Answer(time.monotonic() - begin, now, rows_in(data))

        copying = subprocess.Popen(
            [
                *(installation.program("psql"), "-X", "-h", "127.0.0.1"),
                *("-p", str(pooler.port), "-U", "trusted", "-c", COPY, "bench"),
            ],
            stdout=subprocess.DEVNULL,
            env={**os.environ},
        )
        stack.callback(copying.wait, 10)
        stack.callback(copying.kill)
        wait_until(
            lambda: any(
                row["total_sent"] > 1_000_000 for row in pooler.console("SHOW STATS")
            ),
            "the transfer",
        )

        def slow(given: list[Answer]) -> int:
            """Count the slow answers."""
            return sum(one.took > ANSWER_S * one.slowness for one in given)

        answers = {}
        for word in WORDS:
            for _ in range(BATCHES):
                given = answers[word] = [ask(word) for _ in range(ROUNDS)]
                if slow(given) <= 1:
                    break
        assert copying.poll() is None, "the transfer is still under way"
        for word, given in answers.items():
            # Another process may have had the processor once.
            assert slow(given) <= 1, (word, given)
        assert {one.rows for one in answers["CLIENTS"]} == {CLIENTS + 2}


NEIGHBOUR_S = 0.25
PIPELINED = 300
WATCHED_S = 5.0


@pytest.mark.usefixtures("_many_descriptors")
@pytest.mark.parametrize("reads", [True, False])
def test_a_console_that_asks_for_much(
    pgswitch: PgSwitchFactory, *, reads: bool
) -> None:
    """Its neighbours are served meanwhile, whether or not it reads its answers."""
    pooler = pgswitch(
        auth_type="trust",
        pool_mode="transaction",
        max_client_conn=CLIENTS + 100,
        stats_users="trusted",
        listen_backlog=1000,
        log_connections=0,
        log_disconnections=0,
    )
    with ExitStack() as stack:
        for _ in range(CLIENTS // 2):
            stack.enter_context(RawClient(pooler.port)).log_in()
        neighbour = stack.enter_context(RawClient(pooler.port))
        neighbour.log_in()
        neighbour.send(query())
        everything(neighbour)
        console = stack.enter_context(RawClient(pooler.port))
        console.log_in("trusted", "pgbouncer")
        console.send(query("SHOW CLIENTS") * PIPELINED)
        end = time.monotonic() + WATCHED_S
        console.socket.setblocking(False)  # noqa: FBT003 - its only argument
        slow, asked, told = [], 0, 0
        while time.monotonic() < end:
            if reads:
                with suppress(BlockingIOError):
                    told += len(console.socket.recv(1 << 20))
            now = slowness()
            begin = time.monotonic()
            neighbour.send(query())
            everything(neighbour)
            took = time.monotonic() - begin
            asked += 1
            if took > NEIGHBOUR_S * now:
                slow.append(took)
        # Another process may have had the processor once.
        assert len(slow) <= 1, (slow, asked)
        assert asked > WATCHED_S
        assert bool(told) is reads
        with pooler.connect(ADMIN, "pgbouncer") as other:
            assert other.execute("SHOW VERSION").fetchone() is not None
