"""The PostgreSQL server of a run, and the pooler before it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from pgswitch.demo.account import (
    PrivateDirectory,
    account_for_children,
    hand_over,
)
from pgswitch.demo.installations import best_for
from pgswitch.demo.pooler import Pooler
from pgswitch.demo.postgres import PostgresServer
from soak.wire import DATABASE, HOST, USERS

ADMIN = "admin"
HBA = ("local all all trust", "host all all 127.0.0.1/32 trust")


@dataclass(frozen=True, slots=True)
class Stage:
    """Both processes."""

    server: PostgresServer
    pooler: Pooler


def build(clients: int, servers: int, cleanup: ExitStack) -> Stage:
    """Start both for so many clients and servers; ``cleanup`` gets what ends them.

    Raises ChildFailed when there is no PostgreSQL or one of them does not start.
    """
    account = account_for_children()
    folder = PrivateDirectory(account)
    cleanup.callback(folder.remove)
    programs, data, place = (folder.path / name for name in ("programs", "pg", "sw"))
    programs.mkdir()
    for one in (data, place):
        one.mkdir(mode=0o700)
        hand_over(one, account)
    server = PostgresServer(best_for(account, programs), data, account)
    server.create({"max_connections": str(2 * servers + 20)}, hba=HBA)
    server.start()
    cleanup.callback(server.stop, "immediate")
    for user in USERS:
        server.create_user(user)
    server.create_database(DATABASE)
    server.execute("CREATE UNLOGGED TABLE sink (line text)", database=DATABASE)
    server.execute("GRANT ALL ON TABLE sink TO PUBLIC", database=DATABASE)
    pooler = Pooler(place, account)
    pooler.write_users(dict.fromkeys((*USERS, ADMIN), ""))
    pooler.write_ini(
        {
            "databases": {DATABASE: f"host={HOST} port={server.port}"},
            "pgbouncer": {
                "auth_type": "trust",
                "admin_users": ADMIN,
                "pool_mode": "transaction",
                # Two users, hence two pools, that take servers from each other.
                "default_pool_size": servers,
                "max_db_connections": servers,
                # Cancel requests and clients that were reset count for a moment.
                "max_client_conn": 3 * clients + 100,
                "log_connections": 0,
                "log_disconnections": 0,
                "log_pooler_errors": 0,
            },
        }
    )
    pooler.start()
    cleanup.callback(pooler.stop)
    return Stage(server, pooler)
