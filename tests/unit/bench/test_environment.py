"""Which PostgreSQL is used, its certificate, and the output of its programs."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from bench.environment import (
    ClientPrograms,
    WorkloadFailed,
    has_tls,
    transactions_in,
    write_certificate,
)
from bench.metrics import METRICS
from bench.poolers import ComparedPooler, with_tls
from bench.workloads import QUICK, tls_workloads
from pgswitch.demo.postgres import Installation


def test_who_takes_part() -> None:
    """PgBouncer and pgswitch, as they are but for TLS."""
    poolers = [
        ComparedPooler(
            name, ["x", "{file}"], template="[pgbouncer]\n", lacks={"y": "z"}
        )
        for name in ("pgswitch", "interpreted", "pgbouncer", "haproxy")
    ]
    found = with_tls(poolers)
    assert [one.name for one in found] == ["pgswitch", "pgbouncer"]
    assert all(one.is_encrypted and not one.lacks for one in found)
    text = found[0].template.format(certificate="/c", key="/k")
    assert "client_tls_sslmode = require\nclient_tls_cert_file = /c\n" in text
    assert "server_tls_sslmode = require\n" in text
    assert not poolers[0].is_encrypted


def test_who_can_serve() -> None:
    """Not the wheel, which is built without TLS."""
    assert not has_tls(Installation(Path("/w"), "18.6", "wheel"))
    assert has_tls(Installation(Path("/s"), "15.1", "system"))


def test_certificate(tmp_path: Path) -> None:
    """A server can use it; only its owner may read the key."""
    certificate, key = tmp_path / "crt", tmp_path / "key"
    write_certificate(certificate, key)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    assert key.stat().st_mode & 0o077 == 0


def test_metrics_of_tls_workloads() -> None:
    """Each workload has metrics that the tables have."""
    programs = ClientPrograms(Installation(Path("/s"), "15.1", "system"), by_tls=True)
    for workload in tls_workloads(programs, QUICK):
        assert set(workload.metrics) <= set(METRICS)


DONE = """\
number of transactions actually processed: 1000/1000
number of failed transactions: 0 (0.000%)
tps = 100.0 (without initial connection time)
"""


@pytest.mark.parametrize(
    "output",
    [
        DONE,
        DONE.replace("/1000", ""),  # of a run of fixed length
        DONE.replace("number of failed transactions: 0 (0.000%)\n", ""),  # before 15
    ],
)
def test_transactions(output: str) -> None:
    """The number that was done, in each form that pgbench has."""
    assert transactions_in(output) == 1000


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("", "did not say"),
        (DONE.replace("transactions: 0 ", "transactions: 7 "), "7 transactions failed"),
        (DONE.replace("1000/", "900/"), "900 of 1000"),
    ],
)
def test_failures_are_no_result(output: str, reason: str) -> None:
    """A run with failures measures nothing."""
    with pytest.raises(WorkloadFailed, match=reason):
        transactions_in(output)
