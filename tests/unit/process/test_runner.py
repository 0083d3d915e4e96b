"""The pooler tied to its process: start, stop, faults, exit status."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from pgswitch.config.model import Configuration
from pgswitch.errors.base import FatalError
from pgswitch.process import runner
from pgswitch.process.pidfile import Pidfile
from pgswitch.process.runner import PluginRunner, Runner
from pgswitch.process.signals import Signals
from tests.unit.captured import CapturedLog, NotingReactor


@dataclass
class NotedService:
    """A pooler that does nothing but tell when it is started and stopped."""

    configuration: Configuration
    reactor: object
    log: object
    started: Callable[[], None]
    done: list[str] = field(default_factory=list)
    fault: Exception | None = None
    stopping: Deferred[None] | None = None
    view: Any = None
    shutting_down: bool = False
    suspended: bool = False
    paused_or_suspended: bool = False

    def startService(self) -> None:
        """Start, or fail as the test wants."""
        self.done.append("start")
        if self.fault:
            raise self.fault
        self.started()

    def stopService(self) -> Deferred[None] | None:
        """Stop, perhaps later."""
        self.done.append("stop")
        return self.stopping

    def shutdown_now(self) -> None:
        """Keep it."""
        self.done.append("now")

    def reload(self) -> bool:
        """Do nothing."""
        return True

    def other(self) -> None:
        """Do what signals ask: nothing, here."""

    shutdown_wait_for_clients = shutdown_wait_for_servers = pause_all = resume_all = (
        other
    )


class NotedManhole:
    """A manhole that opens nothing."""

    def __init__(self, namespace: dict[str, Any], **_others: object) -> None:
        """Keep the names a shell would start with."""
        self.namespace = namespace
        self.done: list[str] = []

    def open(self, _settings: object) -> None:
        """Keep it."""
        self.done.append("open")

    async def close(self) -> None:
        """Keep it."""
        self.done.append("close")


class Scene:
    """A Runner and what it is given."""

    def __init__(self, folder: Path, kind: type[Runner] = Runner) -> None:
        """Build, start nothing."""
        self.captured = CapturedLog()
        self.reactor = NotingReactor()
        self.pid_path = folder / "pid"
        self.runner = kind(
            Configuration(),
            reactor=self.reactor,
            log=self.captured.log,
            make_service=NotedService,
        )
        self.runner.pidfile = Pidfile(str(self.pid_path), self.captured.log)

    @property
    def service(self) -> NotedService:
        """The pooler inside."""
        assert isinstance(self.runner.service, NotedService)
        return self.runner.service


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what the service manager receives; replace what needs a network."""
    states: list[str] = []
    monkeypatch.setattr(Signals, "install", lambda _self, _reactor: None)
    monkeypatch.setattr(runner, "Manhole", NotedManhole)
    monkeypatch.setattr(
        runner, "notify_service_manager", lambda state, _environ: states.append(state)
    )
    return states


@pytest.fixture
def scene(tmp_path: Path, told: list[str]) -> Iterator[Scene]:
    """Give a Runner that is stopped at the end."""
    scene = Scene(tmp_path)
    yield scene
    scene.runner.stopService()


def test_start(scene: Scene, told: list[str]) -> None:
    """Serving comes first, then the pid file, the line, the service manager."""
    scene.runner.startService()
    first, last = scene.captured.lines
    assert first.startswith("LOG kernel file descriptor limit: ")
    assert last.startswith("LOG process up: PgBouncer 1.25.2, ")
    assert scene.pid_path.read_text() == f"{os.getpid()}\n"
    assert told == ["READY=1"]
    assert scene.runner.exit_status == 0
    assert scene.service.done == ["start"]


def test_signals_are_installed_twice(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reactor installs its own at its start; ours precede and follow them."""
    installed: list[object] = []
    monkeypatch.setattr(
        Signals, "install", lambda _self, reactor: installed.append(reactor)
    )
    scene.runner.startService()
    assert installed == [scene.reactor]
    for call in scene.reactor.when_running:
        call()
    assert installed == [scene.reactor] * 2


def test_stop_waits_for_the_service(scene: Scene) -> None:
    """The pid file stays as long as anything is open."""
    scene.runner.startService()
    scene.service.stopping = Deferred()
    done: list[object] = []
    scene.runner.stopService().addCallback(done.append)
    assert done == []
    assert scene.pid_path.exists()
    scene.service.stopping.callback(None)
    assert done == [None]
    assert not scene.pid_path.exists()
    assert scene.runner._observer not in globalLogPublisher._observers
    scene.service.stopping = None


def test_fault_while_closing_does_not_stop_the_rest(scene: Scene) -> None:
    """It is logged, and the pid file is removed nevertheless."""
    scene.runner.startService()
    scene.service.stopping = Deferred()
    scene.runner.stopService()
    scene.service.stopping.errback(ValueError("stuck"))
    assert scene.captured.lines[-1] == "ERROR while closing: ValueError('stuck')"
    assert not scene.pid_path.exists()
    scene.service.stopping = None


def test_service_that_cannot_start(scene: Scene, told: list[str]) -> None:
    """What was opened is closed, and the caller gets the reason."""
    scene.service.fault = FatalError("nowhere to listen on")
    with pytest.raises(FatalError):
        scene.runner.startService()
    assert scene.service.done == ["start", "stop"]
    assert told == []
    assert not scene.pid_path.exists()


def test_pidfile_taken_meanwhile(scene: Scene) -> None:
    """Two processes start at once: the slower one exits."""
    scene.pid_path.write_text("1\n")
    with pytest.raises(FatalError, match="File exists"):
        scene.runner.startService()
    assert scene.pid_path.read_text() == "1\n"


def test_pidfile_taken_before_a_late_start(scene: Scene) -> None:
    """A service that starts only later ends the process itself, with status 1."""
    scene.runner.startService()
    scene.service.started()
    text = f"FATAL could not open pidfile '{scene.pid_path}': File exists"
    assert scene.captured.lines[-1] == text
    assert scene.runner.exit_status == 1
    assert scene.service.done == ["start", "now"]


def test_shell_starts_with_service_and_helpers(scene: Scene) -> None:
    """The names that the banner promises are there."""
    manhole = scene.runner._manhole
    assert isinstance(manhole, NotedManhole)
    assert set(manhole.namespace) == {"service", "pools", "clients", "servers"}
    assert manhole.namespace["service"] is scene.service


def test_plugin_claims_the_process_first(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under twistd the steps of the command line are done at the service's start."""
    scene = Scene(tmp_path, PluginRunner)
    monkeypatch.setattr(runner, "claim", lambda *_: None)
    scene.runner.startService()
    assert scene.runner.pidfile is None
    assert scene.service.done == ["start"]
    scene.runner.stopService()


def test_plugin_leaves_with_status_1(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that fails ends twistd, with the line in our log."""
    scene = Scene(tmp_path, PluginRunner)

    def claim(*_args: object) -> None:
        raise FatalError("no")

    monkeypatch.setattr(runner, "claim", claim)
    with pytest.raises(SystemExit) as caught:
        scene.runner.startService()
    assert caught.value.code == 1
    assert scene.captured.lines == ["FATAL no"]
    assert scene.service.done == []


def test_plugin_leaves_with_status_1_later(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once twistd runs, only the very end of the reactor can set the status."""
    scene = Scene(tmp_path, PluginRunner)
    monkeypatch.setattr(runner, "claim", lambda *_: scene.runner.pidfile)
    scene.runner.startService()
    scene.service.started()
    assert scene.reactor.triggers == [("after", "shutdown", os._exit, 1)]
    assert scene.service.done == ["start", "now"]
    scene.runner.stopService()
