"""What errors of the driver mean, and what answers say; real nodes: integration."""

from __future__ import annotations

from collections.abc import Callable

import psycopg2
import pytest
from psycopg2 import errors
from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError
from twisted.python.failure import Failure as TwistedFailure

from pgswitch.cluster.driver_probe import (
    NO_FILE,
    DriverProbe,
    MonitorLogin,
    _fault_of,
    _tls_options,
)
from pgswitch.cluster.nodes import Node, ProbeFailure
from pgswitch.cluster.probe import ProbeFailed
from pgswitch.tls.contexts import TlsOptions

OPERATIONAL = psycopg2.OperationalError


@pytest.mark.parametrize(
    ("error", "is_connect", "failure"),
    [
        (OPERATIONAL("connection refused"), True, ProbeFailure.REFUSED),
        (DNSLookupError("no address"), True, ProbeFailure.REFUSED),
        (OPERATIONAL('FATAL:  role "x" does not exist'), True, ProbeFailure.UNFIT),
        (OPERATIONAL("FATAL:  sorry, too many clients"), True, ProbeFailure.FULL),
        (
            OPERATIONAL("FATAL:  the system is starting up"),
            True,
            ProbeFailure.NOT_READY,
        ),
        (OPERATIONAL("FATAL:  it is shutting down"), True, ProbeFailure.NOT_READY),
        (errors.CannotConnectNow("x"), False, ProbeFailure.NOT_READY),
        (
            OPERATIONAL("failed: fe_sendauth: no password supplied"),
            True,
            ProbeFailure.UNFIT,
        ),
        (errors.QueryCanceled("statement timeout"), False, ProbeFailure.UNFIT),
        (errors.SerializationFailure("a conflict"), False, ProbeFailure.UNFIT),
        (OPERATIONAL("server closed the connection"), False, ProbeFailure.LOST),
        (errors.AdminShutdown("x"), False, ProbeFailure.LOST),
        (OSError("x"), False, ProbeFailure.LOST),
        (errors.UndefinedFunction("x"), False, ProbeFailure.UNFIT),
    ],
)
def test_faults(error: Exception, is_connect: bool, failure: ProbeFailure) -> None:  # noqa: FBT001
    """Each kind, while connecting and later."""
    assert _fault_of(error, is_connect=is_connect).failure is failure


def test_a_look_up_that_hangs() -> None:
    """Closing the probe fails the query at once; a late address is ignored."""
    looked_up: Deferred[tuple[str, ...]] = Deferred()
    names: list[str] = []

    def addresses(host: str) -> Deferred[tuple[str, ...]]:
        names.append(host)
        return looked_up

    def mine() -> MonitorLogin:
        return MonitorLogin("db", "u")

    node = Node("a", "a.example", 1)
    probe = DriverProbe(object(), node, mine, lambda: None, addresses)
    asking = probe.ask()
    failures: list[object] = []
    asking.addErrback(failures.append)
    assert names == ["a.example"]
    assert not probe.is_connected
    probe.close()
    (failure,) = failures
    assert isinstance(failure, TwistedFailure)
    assert isinstance(failure.value, ProbeFailed)
    assert failure.value.failure is ProbeFailure.SILENT
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


class MadeUp:
    """Stands for the driver's connection; the test decides when it ends."""

    def __init__(self, lost: Callable[[], None]) -> None:
        """Be logged in."""
        self.is_ready = self.was_ready = True
        self.lost = lost
        self.asked: Deferred[object] = Deferred()

    def unwatch(self) -> None:
        """Watch nothing."""

    def cursor(self) -> MadeUp:
        """Be one's own cursor."""
        return self

    def execute(self, _query: str) -> Deferred[object]:
        """Wait for the test."""
        return self.asked

    def pollable(self) -> None:
        """Have no socket any more."""


def test_a_kept_connection_that_ends_while_it_is_asked() -> None:
    """That is a loss, whatever the driver's text, and no refused login."""
    node = Node("a", "10.0.0.1", 1)
    probe = DriverProbe(
        object(),
        node,
        lambda: MonitorLogin("db", "u"),
        lambda: None,
        lambda _host: Deferred(),
    )
    made = MadeUp(probe._ended)
    probe._connection = made  # type: ignore[assignment]
    failures: list[TwistedFailure] = []
    probe.ask().addErrback(failures.append)
    made.is_ready = False
    made.lost()
    made.asked.errback(OPERATIONAL("server closed the connection unexpectedly"))
    (failure,) = failures
    assert isinstance(failure.value, ProbeFailed)
    assert failure.value.failure is ProbeFailure.LOST
