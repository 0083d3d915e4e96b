"""The writer of a real cluster moves, and what clients see of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgswitch.demo.account import Account
from pgswitch.demo.cluster import TOPOLOGY_QUERY, PostgresCluster, running_cluster
from pgswitch.demo.postgres import PostgresServer
from tests.integration.running import HBA, PgSwitch, PgSwitchFactory, subdirectory
from tests.waiting import wait_until

ONE_INSTALLATION = True

NODES = 3
OUTAGE_LIMIT_S = 10.0
SETTLE_S = 0.3


@pytest.fixture
def cluster(
    template: PostgresServer, account: Account | None, directory: Path
) -> Iterator[PostgresCluster]:
    """Yield a cluster of three nodes with a table to write to."""
    nodes = []
    for number in range(NODES):
        place = subdirectory(directory, f"node-{number}", account)
        nodes.append(PostgresServer(template.installation, place, account))
    nodes[0].create_as_copy(template)
    with running_cluster(nodes, [*HBA], "bench") as made:
        made.writer.execute(
            "CREATE TABLE written (id bigint PRIMARY KEY)", database="bench"
        )
        made.writer.execute("GRANT ALL ON written TO PUBLIC", database="bench")
        yield made


@pytest.fixture
def pooler(cluster: PostgresCluster, pgswitch: PgSwitchFactory) -> PgSwitch:
    """Return a pgswitch that knows the cluster by its first node."""
    made = pgswitch(
        {
            "bench": f"host=127.0.0.1 port={cluster.writer.port} user=trusted"
            f" topology_query='{TOPOLOGY_QUERY}'"
        },
        auth_type="trust",
        pool_mode="transaction",
    )
    made.wait_for_log("cluster bench: the nodes are")
    return made


class Writer(threading.Thread):
    """A client that inserts row after row until it is told to stop."""

    def __init__(self, pooler: PgSwitch, first: int) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[int] = []
        self.unknown: list[int] = []
        self.errors: list[str] = []
        self.reconnects = 0
        self.longest_s = 0.0
        self._pooler = pooler
        self._next = first
        self._over = threading.Event()

    def run(self) -> None:
        """Write."""
        connection = self._pooler.connect("trusted")
        last = time.monotonic()
        while not self._over.is_set():
            number = self._next
            self._next += 1
            try:
                connection.execute("INSERT INTO written VALUES (%s)" % number)  # noqa: UP031
            except psycopg.Error as error:
                self.errors.append(f"{error.sqlstate}: {error}")
                self.unknown.append(number)
                if connection.broken:
                    self.reconnects += 1
                    connection = self._pooler.connect("trusted")
                continue
            self.acknowledged.append(number)
            now = time.monotonic()
            self.longest_s = max(self.longest_s, now - last)
            last = now
        connection.close()

    def stop(self) -> None:
        """Stop and wait for the end."""
        self._over.set()
        self.join(OUTAGE_LIMIT_S)
        assert not self.is_alive(), "the client still waits"


@pytest.fixture
def writers(pooler: PgSwitch) -> Iterator[list[Writer]]:
    """Yield clients that write; they are stopped after the test at the latest."""
    made = [Writer(pooler, 1 + number * 10_000_000) for number in range(4)]
    for writer in made:
        writer.start()
    wait_until(lambda: all(one.acknowledged for one in made), "the first writes")
    yield made
    for writer in made:
        writer._over.set()


def all_write_again(writers: list[Writer], pooler: PgSwitch) -> None:
    """Wait until every client has written more."""
    before = [len(one.acknowledged) for one in writers]
    wait_until(
        lambda: all(
            len(one.acknowledged) > count + 3
            for one, count in zip(writers, before, strict=True)
        ),
        f"writes\n{pooler.log_text()[-3000:]}",
        OUTAGE_LIMIT_S,
    )


def assert_nothing_lost(cluster: PostgresCluster, writers: list[Writer]) -> None:
    """Check that each acknowledged row is there, and no row that was never sent."""
    rows: list[tuple[Any, ...]] = cluster.writer.execute(
        "SELECT id FROM written", database="bench"
    )
    there = {row[0] for row in rows}
    acknowledged = {one for writer in writers for one in writer.acknowledged}
    unknown = {one for writer in writers for one in writer.unknown}
    assert acknowledged <= there
    assert there <= acknowledged | unknown


def fast_stop(server: PostgresServer) -> None:
    """Stop as an administrator does: standbys get everything first."""
    server.stop("fast")


@pytest.mark.parametrize(
    "how", [fast_stop, PostgresServer.kill], ids=["planned", "crash"]
)
def test_three_moves(
    cluster: PostgresCluster,
    pooler: PgSwitch,
    writers: list[Writer],
    how: Callable[[PostgresServer], object],
) -> None:
    """The writer moves three times in a row, the old one coming back as a standby."""
    for _ in range(3):
        old = cluster.switch(how)
        all_write_again(writers, pooler)
        cluster.rejoin(old)
        cluster.wait_until_followed()
        time.sleep(SETTLE_S)  # noqa: TID251 - let the monitor see the node again
    for writer in writers:
        writer.stop()
    assert [one.reconnects for one in writers] == [0] * len(writers)
    if how is fast_stop:
        assert [one.errors for one in writers] == [[]] * len(writers)
        assert_nothing_lost(cluster, writers)
