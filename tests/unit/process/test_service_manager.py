"""What systemd receives, and what it passes."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pgswitch.process import service_manager


@pytest.mark.parametrize("abstract", [False, True])
def test_notify(tmp_path: Path, abstract: bool) -> None:  # noqa: FBT001
    """The state reaches the manager's socket, with a file or without."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{path}" if abstract else path)
        environ = {"NOTIFY_SOCKET": f"@{path}" if abstract else path}
        assert service_manager.notify_service_manager("READY=1", environ)
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_notify_without_a_manager(environ: dict[str, str]) -> None:
    """Without a manager nothing is sent and nothing fails."""
    assert not service_manager.notify_service_manager("READY=1", environ)


@pytest.mark.parametrize(
    ("environ", "descriptors"),
    [
        ({}, []),
        ({"LISTEN_FDS": "2"}, []),
        ({"LISTEN_FDS": "2", "LISTEN_PID": "1"}, []),
        ({"LISTEN_FDS": "x", "LISTEN_PID": str(os.getpid())}, []),
        ({"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid())}, [3, 4]),
    ],
)
def test_inherited_sockets(environ: dict[str, str], descriptors: list[int]) -> None:
    """Sockets meant for another process are not taken."""
    assert list(service_manager.inherited_sockets(environ)) == descriptors


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment at the start counts, even if it was changed since."""
    name = next(iter(os.environ))
    monkeypatch.delenv(name)
    monkeypatch.setenv("NEW_ONE", "1")
    found = service_manager.environment()
    assert name in found
    assert found["NEW_ONE"] == "1"
