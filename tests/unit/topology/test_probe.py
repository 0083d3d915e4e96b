"""What errors of the driver mean, and what answers say; real nodes: integration."""

from __future__ import annotations

import psycopg2
import pytest
from psycopg2 import errors
from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError
from twisted.python.failure import Failure as TwistedFailure

from pgswitch.tls.options import TlsOptions
from pgswitch.topology.asking import ProbeFailed
from pgswitch.topology.machine import Failure
from pgswitch.topology.nodes import Node
from pgswitch.topology.probe import (
    NO_FILE,
    Credentials,
    PostgresProbe,
    _fault_of,
    _tls_options,
)

OPERATIONAL = psycopg2.OperationalError


@pytest.mark.parametrize(
    ("error", "is_connect", "failure"),
    [
        (OPERATIONAL("connection refused"), True, Failure.REFUSED),
        (DNSLookupError("no address"), True, Failure.REFUSED),
        (OPERATIONAL('FATAL:  role "x" does not exist'), True, Failure.UNFIT),
        (OPERATIONAL("FATAL:  sorry, too many clients"), True, Failure.FULL),
        (OPERATIONAL("FATAL:  the system is starting up"), True, Failure.NOT_READY),
        (OPERATIONAL("FATAL:  it is shutting down"), True, Failure.NOT_READY),
        (errors.CannotConnectNow("x"), False, Failure.NOT_READY),
        (OPERATIONAL("failed: fe_sendauth: no password supplied"), True, Failure.UNFIT),
        (errors.QueryCanceled("statement timeout"), False, Failure.UNFIT),
        (errors.SerializationFailure("a conflict"), False, Failure.UNFIT),
        (OPERATIONAL("server closed the connection"), False, Failure.LOST),
        (errors.AdminShutdown("x"), False, Failure.LOST),
        (OSError("x"), False, Failure.LOST),
        (errors.UndefinedFunction("x"), False, Failure.UNFIT),
    ],
)
def test_faults(error: Exception, is_connect: bool, failure: Failure) -> None:  # noqa: FBT001
    """Each kind, while connecting and later."""
    assert _fault_of(error, is_connect=is_connect).failure is failure


def test_a_look_up_that_hangs() -> None:
    """Whoever closes the probe has its answer at once; a late address is no use."""
    looked_up: Deferred[tuple[str, ...]] = Deferred()
    names: list[str] = []

    def addresses(host: str) -> Deferred[tuple[str, ...]]:
        names.append(host)
        return looked_up

    mine = Credentials("db", "u")
    node = Node("a", "a.example", 1)
    probe = PostgresProbe(object(), node, mine, lambda: None, addresses)
    asking = probe.ask()
    failures: list[object] = []
    asking.addErrback(failures.append)
    assert names == ["a.example"]
    assert not probe.is_connected
    probe.close()
    (failure,) = failures
    assert isinstance(failure, TwistedFailure)
    assert isinstance(failure.value, ProbeFailed)
    assert failure.value.failure is Failure.SILENT
    looked_up.callback(("127.0.0.1",))
    assert not probe.is_connected


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        (TlsOptions(mode="prefer"), ("prefer", NO_FILE, NO_FILE, None)),
        (TlsOptions(mode="verify-full"), ("verify-full", "system", NO_FILE, None)),
        (
            TlsOptions(
                mode="verify-ca",
                ca_file="/ca",
                cert_file="/crt",
                key_file="/key",
                is_direct=True,
            ),
            ("verify-ca", "/ca", "/crt", "direct"),
        ),
    ],
)
def test_tls(tls: TlsOptions, expected: tuple[str | None, ...]) -> None:
    """As the servers of the pools are connected to; no file is looked for."""
    options = _tls_options(tls)
    names = ("sslmode", "sslrootcert", "sslcert", "sslnegotiation")
    assert tuple(options.get(name) for name in names) == expected
