"""What each signal does in each state of the service."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field, replace

import pytest
from twisted.internet.selectreactor import SelectReactor

from pgswitch.process.signals import Signals
from tests.unit.captured import CapturedLog, NotingReactor


@dataclass
class NotedService:
    """A service that keeps what it was asked to do, in one list with the rest."""

    shutting_down: bool = False
    suspended: bool = False
    paused: bool = False
    asked: list[str] = field(default_factory=list)

    @property
    def paused_or_suspended(self) -> bool:
        """As the real one."""
        return self.paused or self.suspended

    def reload(self) -> bool:
        """Keep it."""
        self.asked.append("reload")
        return True

    def shutdown_wait_for_clients(self) -> None:
        """Keep it."""
        self.asked.append("wait_for_clients")

    def shutdown_wait_for_servers(self) -> None:
        """Keep it."""
        self.asked.append("wait_for_servers")

    def shutdown_now(self) -> None:
        """Keep it."""
        self.asked.append("now")

    def pause_all(self) -> None:
        """Keep it."""
        self.asked.append("pause")

    def resume_all(self) -> None:
        """Keep it."""
        self.asked.append("resume")


def make(service: NotedService) -> tuple[Signals, CapturedLog]:
    """Return the table of signals over a service, and its log."""
    captured = CapturedLog()
    signals = Signals(
        service,
        captured.log,
        fail=lambda text: service.asked.append(f"fail: {text}"),
        notify=lambda state: service.asked.append(f"notify: {state}"),
        monotonic=lambda: 1.5,
    )
    return signals, captured


ACTIVE: dict[str, bool] = {}
PAUSED = {"paused": True}
SUSPENDED = {"suspended": True}
ENDING = {"shutting_down": True}
DIES = "fail: suspend was in progress, going down immediately"
STOPPING = "notify: STOPPING=1"
TERM = "got SIGTERM, shutting down, waiting for all clients disconnect"
INT = "got SIGINT, shutting down, waiting for all servers connections to be released"
RELOADING = "notify: RELOADING=1\nMONOTONIC_USEC=1500000"


@pytest.mark.parametrize(
    ("name", "state", "asked", "line"),
    [
        (
            "SIGHUP",
            ACTIVE,
            [RELOADING, "reload", "notify: READY=1"],
            "got SIGHUP, re-reading config",
        ),
        ("SIGTERM", ACTIVE, [STOPPING, "wait_for_clients"], TERM),
        ("SIGTERM", PAUSED, [STOPPING, "wait_for_clients"], TERM),
        ("SIGTERM", ENDING, ["now"], "got SIGTERM while shutting down, fast exit"),
        ("SIGTERM", SUSPENDED, [DIES], None),
        ("SIGINT", ACTIVE, [STOPPING, "wait_for_servers"], INT),
        ("SIGINT", ENDING, ["now"], "got SIGINT while shutting down, fast exit"),
        ("SIGINT", SUSPENDED, [DIES], None),
        ("SIGQUIT", ACTIVE, ["now"], "got SIGQUIT, fast exit"),
        ("SIGQUIT", SUSPENDED, ["now"], "got SIGQUIT, fast exit"),
        ("SIGUSR1", ACTIVE, ["pause"], "got SIGUSR1, pausing all activity"),
        ("SIGUSR1", PAUSED, [], "got SIGUSR1, but already paused/suspended"),
        ("SIGUSR1", SUSPENDED, [], "got SIGUSR1, but already paused/suspended"),
        ("SIGUSR2", ACTIVE, [], "got SIGUSR2, but not paused/suspended"),
        ("SIGUSR2", PAUSED, ["resume"], "got SIGUSR2, continuing from PAUSE"),
        ("SIGUSR2", SUSPENDED, ["resume"], "got SIGUSR2, continuing from SUSPEND"),
        (
            "SIGUSR2",
            ENDING | PAUSED,
            [],
            "got SIGUSR2 while shutting down, ignoring",
        ),
    ],
)
def test_signal(
    name: str, state: dict[str, bool], asked: list[str], line: str | None
) -> None:
    """Each signal does what PgBouncer does, and logs its words."""
    service = replace(NotedService(), **state)  # type: ignore[arg-type]
    signals, captured = make(service)
    signals.actions[signal.Signals[name]]()
    assert service.asked == asked
    assert captured.lines == ([f"LOG {line}"] if line else [])


def test_handlers_only_ask_the_reactor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler interrupts other code, so it only schedules work for the reactor."""
    handlers = {}
    monkeypatch.setattr(
        signal, "signal", lambda number, handle: handlers.update({number: handle})
    )
    service, reactor = NotedService(), NotingReactor()
    signals, captured = make(service)
    signals.install(reactor)
    assert set(handlers) == set(signals.actions)
    handlers[signal.SIGQUIT](signal.SIGQUIT, None)
    assert service.asked == captured.lines == []
    (call,) = reactor.from_threads
    call()
    assert service.asked == ["now"]


def test_sigterm_amid_the_start_of_the_reactor() -> None:
    """The handler that Twisted sets at its start does what ours does."""
    service, reactor = NotedService(), SelectReactor()
    signals, captured = make(service)
    before = {number: signal.getsignal(number) for number in signals.actions}
    try:
        signals.install(reactor)
        reactor.startRunning(installSignalHandlers=True)
        signal.raise_signal(signal.SIGTERM)
        reactor.iterate(0)
    finally:
        reactor.stop()
        reactor.iterate(0)
        for number, handler in before.items():
            signal.signal(number, handler)
    assert service.asked == ["notify: STOPPING=1", "wait_for_clients"]
    assert captured.lines[0].startswith("LOG got SIGTERM, shutting down")
