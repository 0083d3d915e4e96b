"""The console answers at once, however much there is to do."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pgswitch.demo.installations import Installation
from tests.integration.running import ADMIN, PgSwitchFactory
from tests.integration.wire import RawClient, query
from tests.waiting import wait_until

ONE_INSTALLATION = True

CLIENTS = 2000
ANSWER_S = 0.1
ROUNDS = 5
DESCRIPTORS = CLIENTS + 500
COPY = "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 1000000)) TO STDOUT"
"""A gigabyte; the test ends before it does."""


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

        def ask(word: str) -> tuple[float, int]:
            """Return how long the answer took, and how many rows it had."""
            begin = time.monotonic()
            console.send(query(f"SHOW {word}"))
            rows = [kind for kind, _ in console.until(b"Z")].count(b"D")
            return time.monotonic() - begin, rows

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
        took = [
            ask(word)[0]
            for _ in range(ROUNDS)
            for word in ("POOLS", "STATS", "LISTS", "DATABASES", "STATE", "VERSION")
        ]
        assert copying.poll() is None, "the transfer is still under way"
        assert statistics.median(took) < ANSWER_S, took
        _, rows = ask("CLIENTS")
        assert rows == CLIENTS + 2
