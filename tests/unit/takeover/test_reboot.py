"""The steps of an online restart that end it early."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from pgswitch.config.model import Settings
from pgswitch.errors.base import FatalError
from pgswitch.takeover import predecessor
from pgswitch.takeover.predecessor import InheritedSocket, Predecessor
from tests.unit.captured import CapturedLog


@pytest.mark.parametrize(
    ("folder", "passed", "text"),
    [
        ("", "", "cannot reboot if unix dir not configured"),
        ("@name", "", "cannot reboot with abstract Unix socket"),
        ("/tmp", "1", "cannot reboot under service manager"),
    ],
)
def test_where_it_cannot_be(
    monkeypatch: pytest.MonkeyPatch, folder: str, passed: str, text: str
) -> None:
    """The texts are the reference's."""
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", passed)
    with pytest.raises(FatalError) as caught:
        predecessor.begin(
            replace(Settings(), unix_socket_dir=folder), CapturedLog().log
        )
    assert caught.value.text == text


def test_nobody_there(tmp_path: Path) -> None:
    """Then it is a start like any other."""
    captured = CapturedLog()
    settings = replace(Settings(), unix_socket_dir=str(tmp_path))
    assert predecessor.begin(settings, captured.log) is None
    assert captured.lines == ["LOG old process not found, try to continue normally"]


class Running:
    """A process that hands over, or ends us meanwhile."""

    given_up = False

    def __init__(self, number: signal.Signals | None = None) -> None:
        self.number = number

    def sockets(self) -> list[InheritedSocket]:
        """Return one listening socket and one client."""
        if self.number is not None:
            signal.raise_signal(self.number)
        return [
            InheritedSocket(fd, 0, task, "", "", "unix", 0, b"", 0)
            for fd, task in ((4, "pooler"), (5, "client"))
        ]

    def give_up(self) -> None:
        """Note that the old process goes on."""
        self.given_up = True


def test_what_was_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The listening sockets in it are recognised."""
    monkeypatch.setattr(Predecessor, "at", lambda _path: Running())
    settings = replace(Settings(), unix_socket_dir=str(tmp_path), pidfile="p")
    takeover = predecessor.begin(settings, CapturedLog().log)
    assert takeover is not None
    assert (takeover.listening(), takeover.pidfile) == ([4], "p")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """They end this process, and the old one goes on; afterwards all is as before."""
    running = Running(number)
    monkeypatch.setattr(Predecessor, "at", lambda _path: running)
    before = signal.getsignal(number)
    settings = replace(Settings(), unix_socket_dir=str(tmp_path))
    with pytest.raises(FatalError) as caught:
        predecessor.begin(settings, CapturedLog().log)
    assert caught.value.text == "takeover was in progress, going down immediately"
    assert running.given_up
    assert signal.getsignal(number) is before
