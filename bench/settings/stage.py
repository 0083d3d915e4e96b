"""PostgreSQL, and poolers before it with any settings."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from itertools import count

import psycopg

from bench.encrypted import build_encrypted
from bench.settings.nursery import ForkedPooler, Nursery
from bench.stage import build
from bench.wire import DATABASE, USER
from pgswitch.demo.account import account_for_children, hand_over
from pgswitch.demo.processes import ChildFailed


class Stage:
    """The server, with or without TLS, and what starts poolers."""

    def __init__(self, cleanup: ExitStack) -> None:
        """Start PostgreSQL; ``cleanup`` gets what ends it all.

        Raises ChildFailed when there is none.
        """
        self._nursery = Nursery()
        cleanup.callback(self._nursery.end)
        account = account_for_children()
        try:
            self._made = build_encrypted(account, cleanup, scale=0)
            self.has_tls = True
        except ChildFailed:
            self._made = build(account, cleanup, scale=0)
            self.has_tls = False
        self.port = self._made.server.port
        self.version = self._made.server.installation.version
        self.database = psycopg.connect(
            f"host=127.0.0.1 port={self.port} user={USER} dbname={DATABASE}",
            autocommit=True,
        )
        cleanup.callback(self.database.close)
        self._numbers = count(1)

    def pooler(
        self,
        settings: Mapping[str, str],
        *,
        server_tls: bool = False,
        waits: bool = True,
    ) -> ForkedPooler:
        """Start a pooler with these settings, and all others at their defaults.

        Except the pool mode: transaction pooling is what pays, and what is intricate.
        It takes clients with TLS and without. ``waits`` False: it waits for no more
        than a byte. Raises ChildFailed when it does not start.
        """
        stage = self._made
        place = stage.directory / f"pooler-{next(self._numbers)}"
        place.mkdir(mode=0o700)
        hand_over(place, stage.account)
        made = ForkedPooler(self._nursery, place, stage.account)
        made.write_users({USER: ""})
        ours = {
            "auth_type": "trust",
            "pool_mode": "transaction",
            "server_tls_sslmode": "require" if server_tls else "disable",
        }
        if self.has_tls:
            ours["client_tls_sslmode"] = "allow"
            ours["client_tls_cert_file"] = str(stage.directory / "tls.crt")
            ours["client_tls_key_file"] = str(stage.directory / "tls.key")
        made.write_ini(
            {
                "databases": {DATABASE: f"host=127.0.0.1 port={self.port}"},
                "pgbouncer": {**ours, **settings},
            }
        )
        made.begin(waits=waits)
        return made
