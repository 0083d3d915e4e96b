"""The poolers and the server of the loads with TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

from bench.contenders import Contender
from bench.encrypted import encrypted, encrypted_loads, has_tls, write_certificate
from bench.loads import QUICK
from bench.programs import Programs
from bench.rows import ROWS
from pgswitch.demo.installations import Installation


def test_who_takes_part() -> None:
    """PgBouncer and pgswitch, as they are but for TLS."""
    racers = [
        Contender(name, ["x", "{file}"], template="[pgbouncer]\n", lacks={"y": "z"})
        for name in ("pgswitch", "interpreted", "pgbouncer", "haproxy")
    ]
    found = encrypted(racers)
    assert [one.name for one in found] == ["pgswitch", "pgbouncer"]
    assert all(one.is_encrypted and not one.lacks for one in found)
    text = found[0].template.format(certificate="/c", key="/k")
    assert "client_tls_sslmode = require\nclient_tls_cert_file = /c\n" in text
    assert "server_tls_sslmode = require\n" in text
    assert not racers[0].is_encrypted


def test_who_can_serve() -> None:
    """Not the wheel, which is built without TLS."""
    assert not has_tls(Installation(Path("/w"), "18.6", "wheel"))
    assert has_tls(Installation(Path("/s"), "15.1", "system"))


def test_certificate(tmp_path: Path) -> None:
    """A server can be run with it; nobody else may read the key."""
    certificate, key = tmp_path / "crt", tmp_path / "key"
    write_certificate(certificate, key)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    assert key.stat().st_mode & 0o077 == 0


def test_rows() -> None:
    """Each load fills rows that the tables have."""
    programs = Programs(Installation(Path("/s"), "15.1", "system"), by_tls=True)
    for load in encrypted_loads(programs, QUICK):
        assert set(load.rows) <= set(ROWS)
