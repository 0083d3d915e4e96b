"""One process after the other is replaced, on one port, while clients work."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Self

import psycopg
import pytest

from pgswitch.demo.postgres import Installation
from testkit.pgwire import error_fields
from tests.fakes.messages import query
from tests.integration.running import PgSwitch, PgSwitchFactory, RawClient
from tests.integration.test_cancelling import ask_to_cancel, at_work
from tests.integration.test_pgbench import CLIENTS, command, environment
from tests.waiting import wait_until

ONE_INSTALLATION = True
FORWARDED = "closing because: successfully sent cancel request"


class Visitors:
    """Clients that work, leave and come again, as pools of applications do."""

    def __init__(self, url: str) -> None:
        self.visits = 0
        self.faults: list[psycopg.Error] = []
        self._url = url
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(4)]

    def _work(self) -> None:
        while not self._is_over.is_set():
            try:
                with psycopg.connect(self._url) as client:
                    for number in range(20):
                        (row,) = client.execute("SELECT %s::int", [number]).fetchall()
                        assert row == (number,)
                        client.commit()
                        self._is_over.wait(0.01)
            except psycopg.Error as fault:
                self.faults.append(fault)
            self.visits += 1

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def pgbench(installation: Installation, pooler: PgSwitch) -> Iterator[None]:
    """Have clients work that leave when they have done what they came for."""
    script = pooler.directory / "script"
    script.write_text("BEGIN;\nSELECT :client_id;\nCOMMIT;\n", encoding="ascii")
    work = ("-t", "60", "-R", str(CLIENTS * 40))
    options = ("-M", "prepared", *work, "-f", str(script))
    load = subprocess.Popen(
        command(installation, pooler, *options),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield
        assert load.communicate(timeout=30)[1] == ""
    finally:
        load.kill()
        load.wait()


@pytest.fixture
def poolers(pgswitch: PgSwitchFactory) -> list[PgSwitch]:
    """Return two that share a port and know each other, neither of them started."""
    both = [pgswitch(start=False) for _ in range(2)]
    both[1].port = both[0].port
    peers = {
        str(number): f"host={one.directory}" for number, one in enumerate(both, start=1)
    }
    for number, one in enumerate(both, start=1):
        one.configure(
            pgswitch.usual_databases(),
            {
                "pool_mode": "transaction",
                "auth_type": "trust",
                "so_reuseport": 1,
                "peer_id": number,
                "listen_port": one.port,
            },
            {"peers": {key: f"{host} port={one.port}" for key, host in peers.items()}},
        )
    return both


def owner(key: bytes) -> int:
    """Return the peer_id of the process that has given a client its key."""
    return key[1] | key[2] << 8


def client_of(number: int, port: int) -> tuple[RawClient, bytes]:
    """Return a client of one process, with a query under way, and its key."""
    while True:
        client, key = at_work(port)
        if owner(key) == number:
            return client, key
        ask_to_cancel(port, key)
        client.socket.close()


def cancel_until(client: RawClient, key: bytes, port: int, forwarder: PgSwitch) -> None:
    """Cancel query after query, until a request went by another process."""
    before = forwarder.log_text().count(FORWARDED)
    while True:
        ask_to_cancel(port, key)
        messages = dict(client.read_until(b"Z"))
        assert error_fields(messages[b"E"])["C"] == "57014"
        has_gone_by = forwarder.log_text().count(FORWARDED) > before
        client.send(
            query("DO 'BEGIN RAISE NOTICE $$begun$$; PERFORM pg_sleep(30); END'")
        )
        client.read_until(b"N")
        if has_gone_by:
            return


def replace(old: PgSwitch, new: PgSwitch, installation: Installation) -> None:
    """Start ``new``, have ``old`` end when its clients have left."""
    number = 1 if "peer_id = 1" in old.ini_path.read_text() else 2
    with ExitStack() as stack:
        client, key = client_of(number, old.port)
        stack.enter_context(client)
        with pgbench(installation, old):
            new.start()
            cancel_until(client, key, old.port, new)
            with psycopg.connect(
                f"host={old.directory} port={old.port} user=admin"
                f" password=admin-secret dbname=pgbouncer",
                autocommit=True,
            ) as console:
                console.execute("SHUTDOWN WAIT_FOR_CLIENTS")
            # All requests go to the other process now.
            cancel_until(client, key, old.port, new)
            assert old.is_running
        ask_to_cancel(old.port, key)
        assert error_fields(dict(client.read_until(b"Z"))[b"E"])["C"] == "57014"
    wait_until(lambda: not old.is_running, "the end of the old process")
    assert old.child.exit_code == 0
    client, key = client_of(3 - number, old.port)
    with client:
        ask_to_cancel(old.port, key)
        assert client.read_error()["C"] == "57014"


def test_one_after_the_other(
    poolers: list[PgSwitch], installation: Installation
) -> None:
    """No client has an error, each cancel ends its own query and no other."""
    first, second = poolers
    first.start()
    with Visitors(first.dsn()) as visitors:
        wait_until(lambda: visitors.visits, "the first visits")
        replace(first, second, installation)
        replace(second, first, installation)
        before = visitors.visits
        wait_until(lambda: visitors.visits > before + 4, "visits to go on")
    assert visitors.faults == []
