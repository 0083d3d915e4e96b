"""``python -m soak.failover``: clients of a cluster whose nodes fail in every way.

Each client writes rows with unique keys and records the outcome of each; at the
end these records are compared with the table. Commits wait for one standby, so that no
acknowledged row may be lost, however the writer ends.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random

import psycopg
from psycopg.rows import dict_row

from pgswitch.demo.cluster import TOPOLOGY_QUERY, PostgresCluster, running_cluster
from pgswitch.demo.pooler import Pooler
from pgswitch.demo.postgres import PostgresServer, best_for
from pgswitch.demo.processes import (
    ChildFailed,
    PrivateDirectory,
    account_for_children,
    hand_over,
    run,
)
from soak.failover_clients import (
    DATABASE,
    KINDS,
    SPLIT,
    STUCK_S,
    USER,
    WAIT_S,
    Client,
    Journal,
)
from testkit.procfs import resident_kb

ADMIN = "admin"
NODES = 3
ALL_TRUST = ["local all all trust", "host all all 127.0.0.1/32 trust"]
SCHEMA = (
    "CREATE TABLE written (id bigint NOT NULL)",
    "GRANT ALL ON written TO PUBLIC",
)
RULES = """
def routing_rules(username, query, in_transaction):
    return "app:reader" if "reader" in query else "app:writer"
"""
CONSOLE = "pgbouncer"
BUSY = ("cl_active", "cl_waiting", "sv_active", "sv_login", "sv_tested")
"""Columns of SHOW POOLS that are 0 once all clients have disconnected."""
MAX_MEMORY_KB = 120_000
"""Usually some 70,000, before and after each takeover."""
SHOWN = 20


class FailoverTest:
    """A cluster, pgswitch in front of it, and the faults."""

    def __init__(self, cluster: PostgresCluster, pooler: Pooler, seed: int) -> None:
        self.cluster = cluster
        self.pooler = pooler
        self.random = Random(f"{seed}/failover")  # noqa: S311 - repeatable
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []

    def console(self, command: str) -> list[dict[str, object]]:
        """Run a command on the console."""
        with psycopg.connect(
            f"host=127.0.0.1 port={self.pooler.port} user={ADMIN} dbname=pgbouncer",
            autocommit=True,
            row_factory=dict_row,
        ) as connection:
            cursor = connection.execute(command.encode())
            return [] if cursor.description is None else cursor.fetchall()

    def heal(self) -> None:
        """Make every node follow the writer again."""
        for node in self.cluster.nodes:
            if not node.is_running:
                self.cluster.rejoin(node, from_copy=True)
        self.cluster.wait_until_followed()

    # The faults.

    def switchover_fast(self) -> None:
        """Planned switchover: shut the writer down in fast mode."""
        self.cluster.switch(lambda node: node.stop("fast"))

    def switchover_immediate(self) -> None:
        """Shut the writer down in immediate mode."""
        self.cluster.switch(lambda node: node.stop("immediate"))

    def writer_killed(self) -> None:
        """Kill the writer."""
        self.cluster.switch(lambda node: node.kill())

    def writer_suspended(self) -> None:
        """Suspend the writer, promote a standby, and kill the old writer later."""
        old = self.cluster.writer
        old.freeze()
        self._pause(1.5)
        self.cluster.promote_best()
        self._pause(1.0)
        old.thaw()
        self._pause(0.5)
        old.kill()

    def writer_restarted(self) -> None:
        """Restart the writer in fast mode."""
        self.cluster.writer.restart("fast")

    def backends_terminated(self) -> None:
        """Terminate some backends of all nodes."""
        for node in self.cluster.nodes:
            for pid in self._backends(node)[:4]:
                with suppress(psycopg.Error):
                    node.execute("SELECT pg_terminate_backend(%s)", [pid])

    def backend_killed(self) -> None:
        """Kill a backend of the writer, which makes all of them restart."""
        for pid in self._backends(self.cluster.writer)[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._until_ready(self.cluster.writer)

    def standby_backend_killed(self) -> None:
        """Kill a backend of a standby."""
        node = self.random.choice(self.cluster.standbys)
        for pid in self._backends(node)[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._until_ready(node)

    def standby_suspended(self) -> None:
        """Suspend a standby for a while."""
        node = self.random.choice(self.cluster.standbys)
        node.freeze()
        self._pause(3.0)
        node.thaw()

    def standby_stopped(self) -> None:
        """Stop a standby."""
        how = self.random.choice(("fast", "immediate"))
        self.random.choice(self.cluster.standbys).stop(how)
        self._pause(0.5)

    def connections_used_up(self) -> None:
        """Use up the connections of a node, so that pools cannot open servers."""
        held: list[psycopg.Connection] = []
        node = self.random.choice(self.cluster.nodes)
        with suppress(psycopg.OperationalError):
            while True:
                held.append(
                    psycopg.connect(
                        f"host=127.0.0.1 port={node.port} user={USER} dbname={DATABASE}"
                    )
                )
        self.console("RECONNECT")
        self._pause(1.5)
        for one in held:
            one.close()

    def reload(self) -> None:
        """Reload."""
        self.console("RELOAD")

    def pause(self) -> None:
        """Pause all clients for a moment."""
        try:
            self.console(f"PAUSE {DATABASE}")
        except psycopg.Error as error:
            self.wrong.append(f"PAUSE: {error}")
        self._pause(0.5)
        with suppress(psycopg.Error):
            self.console(f"RESUME {DATABASE}")

    def takeover(self) -> None:
        """Start a new process that takes over."""
        old = self.pooler.child
        self.pooler.start(["-R"])
        if old.wait(20) != 0:
            self.wrong.append("the old process did not exit with 0")

    def takeover_after_terminations(self) -> None:
        """Take over just after backends were terminated."""
        self.backends_terminated()
        self.takeover()

    def takeover_while_suspended(self) -> None:
        """Take over while clients wait for a suspended writer."""
        old = self.cluster.writer
        old.freeze()
        self._pause(1.2)
        self.takeover()
        self.cluster.promote_best()
        self._pause(1.0)
        old.thaw()
        old.kill()

    def switchover_while_paused(self) -> None:
        """Move the writer while all clients are paused."""
        try:
            self.console(f"PAUSE {DATABASE}")
            self.switchover_fast()
        except psycopg.Error as error:
            self.wrong.append(f"PAUSE: {error}")
        with suppress(psycopg.Error):
            self.console(f"RESUME {DATABASE}")

    def clients_killed(self) -> None:
        """Kill clients, also some whose query waits while the writer moves."""
        self.backends_terminated()
        for row in self.console("SHOW CLIENTS")[:6]:
            if row["database"] != CONSOLE:
                with suppress(psycopg.Error):
                    self.console(f"KILL_CLIENT {row['id']}")
        self.switchover_immediate()

    def two_switchovers(self) -> None:
        """Move the writer, and again as soon as the cluster is complete."""
        self.switchover_fast()
        self.heal()
        self.switchover_immediate()

    def _backends(self, node: PostgresServer) -> list[int]:
        try:
            rows = node.execute(
                "SELECT pid FROM pg_stat_activity WHERE usename = %s"
                " AND backend_type = 'client backend' ORDER BY random()",
                [USER],
            )
        except psycopg.Error:
            return []
        return [pid for (pid,) in rows]

    def _until_ready(self, node: PostgresServer) -> None:
        self._pause(0.2)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with suppress(psycopg.Error):
                node.execute("SELECT 1")
                return
            self._pause(0.1)
        self.wrong.append("a node did not restart")

    @staticmethod
    def _pause(seconds: float) -> None:
        time.sleep(seconds)  # noqa: TID251 - processes of their own


FAULTS: tuple[Callable[[FailoverTest], None], ...] = (
    FailoverTest.switchover_fast,
    FailoverTest.switchover_immediate,
    FailoverTest.writer_killed,
    FailoverTest.writer_suspended,
    FailoverTest.writer_restarted,
    FailoverTest.backends_terminated,
    FailoverTest.backend_killed,
    FailoverTest.standby_backend_killed,
    FailoverTest.standby_suspended,
    FailoverTest.standby_stopped,
    FailoverTest.connections_used_up,
    FailoverTest.reload,
    FailoverTest.pause,
    FailoverTest.takeover,
    FailoverTest.takeover_after_terminations,
    FailoverTest.takeover_while_suspended,
    FailoverTest.switchover_while_paused,
    FailoverTest.clients_killed,
    FailoverTest.two_switchovers,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return 0, 1 if something was wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m soak.failover",
        description="Clients write to a cluster while its nodes fail.",
    )
    parser.add_argument("--seconds", type=float, default=120.0, help="default 120")
    parser.add_argument("--clients", type=int, default=40, help="default 40")
    parser.add_argument("--seed", type=int, help="repeat the run that printed it")
    parser.add_argument(
        "--only", default="", help="only faults with this in their names"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting"
    )
    parser.add_argument("--keep", type=Path, help="where to copy the pooler's log")
    options = parser.parse_args(arguments)
    return run("failover", lambda cleanup: _run(options, cleanup))


def _run(options: argparse.Namespace, cleanup: ExitStack) -> int:
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    given = dict(one.split("=", 1) for one in options.set)
    test = _start(seed, given, cleanup)
    journal = Journal()
    stopping = threading.Event()
    clients = [
        Client(number, KINDS[number % len(KINDS)], test.pooler.port, journal, stopping)
        for number in range(options.clients)
    ]
    for client in clients:
        client.start()
    _inject_faults(test, clients, options)
    stopping.set()
    for client in clients:
        client.join(STUCK_S)
        if client.is_alive():
            test.wrong.append(f"client {client.name} still waits")
    _check(test, journal)
    text = test.pooler.log_text()
    if options.keep:
        options.keep.write_text(text)
    for line in text.splitlines():
        if "Traceback" in line or " ERROR " in line or "twice as long" in line:
            test.wrong.append(f"log: {line[:300]}")
    wrong = [*test.wrong, *journal.wrong]
    print(f"faults: {dict(test.done)}")
    print(f"answers: {dict(sorted(journal.answers.items()))}")
    for line in wrong[:SHOWN]:
        print(f"WRONG: {line}")
    print(f"{len(wrong)} things went wrong" if wrong else "nothing went wrong")
    return bool(wrong)


def _inject_faults(
    test: FailoverTest, clients: Sequence[Client], options: argparse.Namespace
) -> None:
    """Inject faults until time is over; check that no client waits too long."""
    over = time.monotonic() + options.seconds
    faults = [fault for fault in FAULTS if options.only in fault.__name__]
    queue: list[Callable[[FailoverTest], None]] = []
    while time.monotonic() < over:
        if not queue:
            queue = test.random.sample(faults, len(faults))
        fault = queue.pop()
        print(f"{time.strftime('%T')} {fault.__name__}", flush=True)
        try:
            fault(test)
            test.done[fault.__name__] += 1
            test._pause(test.random.uniform(0.1, 1.0))
            test.heal()
        except (ChildFailed, psycopg.Error) as error:
            test.wrong.append(f"{fault.__name__}: {error}")
            return
        for client in clients:
            waited = client.waited()
            if waited > STUCK_S:
                test.wrong.append(
                    f"{fault.__name__}: {client.name} has waited {waited:.0f} s at"
                    f" {client.doing}"
                )
        test._pause(0.5)


def _check(test: FailoverTest, journal: Journal) -> None:
    """Compare the table with what clients recorded, and check counts and memory."""
    rows = test.cluster.writer.execute("SELECT id FROM written", database=DATABASE)
    journal.compare(Counter(key for (key,) in rows))
    test._pause(1.0)
    for row in test.console("SHOW POOLS"):
        for column in BUSY:
            if row[column] and row["database"] != CONSOLE:
                left = f"{row['database']} {column} {row[column]}"
                test.wrong.append(f"SHOW POOLS: {left}")
    if [one for one in test.console("SHOW CLIENTS") if one["database"] != CONSOLE]:
        test.wrong.append("SHOW CLIENTS shows clients that have disconnected")
    memory = resident_kb(test.pooler.child.pid)
    if memory > MAX_MEMORY_KB:
        test.wrong.append(f"pgswitch has {memory} kB of memory")
    print(f"memory {memory} kB")
    errors = [
        f"{row['sqlstate']} {row['cause']}: {row['count']}"
        for row in test.console("SHOW ERRORS")
    ]
    print("errors:", "; ".join(errors))


def _start(seed: int, given: dict[str, str], cleanup: ExitStack) -> FailoverTest:
    account = account_for_children()
    folder = PrivateDirectory(account)
    cleanup.callback(folder.remove)
    programs = folder.path / "programs"
    programs.mkdir()
    installation = best_for(account, programs)
    nodes: list[PostgresServer] = []
    for number in range(NODES):
        home = folder.path / f"node-{number}"
        home.mkdir(mode=0o700)
        hand_over(home, account)
        nodes.append(PostgresServer(installation, home, account))
    nodes[0].create(
        {
            "max_connections": "60",
            "synchronous_standby_names": "ANY 1 (*)",
            "synchronous_commit": "local",
        },
        hba=ALL_TRUST,
    )
    nodes[0].start()
    nodes[0].create_user(USER)
    nodes[0].create_database(DATABASE)
    for statement in SCHEMA:
        nodes[0].execute(statement, database=DATABASE)
    nodes[0].execute(f"ALTER ROLE {USER} SET synchronous_commit = on")
    nodes[0].stop("fast")
    cluster = cleanup.enter_context(running_cluster(nodes, ALL_TRUST, DATABASE))
    place = folder.path / "sw"
    place.mkdir(mode=0o700)
    hand_over(place, account)
    rules = place / "rules.py"
    rules.write_text(RULES)
    hand_over(rules, account)
    pooler = Pooler(place, account)
    pooler.write_users(dict.fromkeys((USER, ADMIN), ""))
    where = f"host=127.0.0.1 port={cluster.writer.port} user={USER} dbname={DATABASE}"
    topology = f"{where} topology_query='{TOPOLOGY_QUERY}'"
    settings: dict[str, str | int | float] = {
        "auth_type": "trust",
        "admin_users": ADMIN,
        "pool_mode": "transaction",
        "default_pool_size": 8,
        "query_wait_timeout": WAIT_S,
        "pidfile": str(place / "pid"),
        "suspend_timeout": 10,
        "log_connections": 0,
        "log_disconnections": 0,
        **_tls(place, account),
        **given,
    }
    pooler.write_ini(
        {
            "databases": {
                DATABASE: topology,
                "session": f"{topology} pool_mode=session",
                "statement": f"{topology} pool_mode=statement",
                SPLIT: f"{where} routing_rules_py_module_file={rules}",
            },
            "pgbouncer": settings,
        }
    )
    pooler.start()
    cleanup.callback(pooler.stop)
    return FailoverTest(cluster, pooler, seed)


def _tls(place: Path, account: object) -> dict[str, str]:
    from bench.environment import write_certificate  # noqa: PLC0415

    certificate, key = place / "tls.crt", place / "tls.key"
    write_certificate(certificate, key)
    for path in (certificate, key):
        path.chmod(0o600)
        hand_over(path, account)  # type: ignore[arg-type]
    return {
        "client_tls_sslmode": "allow",
        "client_tls_cert_file": str(certificate),
        "client_tls_key_file": str(key),
    }


if __name__ == "__main__":
    sys.exit(main())
