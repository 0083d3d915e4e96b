"""The command that joins a terminal to the shell."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from pgswitch.manhole import __main__
from pgswitch.manhole.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "Usage: python -m pgswitch.manhole SOCKET\n"),
        (["a", "b"], "Usage: python -m pgswitch.manhole SOCKET\n"),
        (["/no/socket"], "/no/socket: No such file or directory\n"),
    ],
)
def test_client_refuses(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong call says what is right, with status 1."""
    assert main(arguments) == 1
    assert capsys.readouterr().err == text


def test_client_joins_terminal_and_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It connects and hands over to the relay, on this terminal's two streams."""
    joined: list[tuple[str, int, int]] = []
    monkeypatch.setattr(
        __main__,
        "relay",
        lambda sock, source, target: joined.append(
            (sock.getpeername(), source, target)
        ),
    )
    for name, number in (("stdin", 0), ("stdout", 1)):
        stream = SimpleNamespace(fileno=lambda number=number: number)
        monkeypatch.setattr(f"sys.{name}", stream)
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        assert main([path]) == 0
    assert joined == [(path, 0, 1)]


def test_client_refuses_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of what that says reaches this terminal; root may go anywhere."""
    monkeypatch.setattr(__main__, "relay", lambda *_arguments: None)
    monkeypatch.setattr(__main__, "user_behind", lambda _sock: 4711)
    for name in ("stdin", "stdout"):
        monkeypatch.setattr(f"sys.{name}", SimpleNamespace(fileno=lambda: 0))
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        for uid, status in ((500, 1), (0, 0)):
            monkeypatch.setattr(os, "geteuid", lambda uid=uid: uid)
            assert main([path]) == status
    assert capsys.readouterr().err == f"{path}: runs as another user (id 4711)\n"
