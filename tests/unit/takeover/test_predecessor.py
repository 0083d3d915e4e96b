"""The conversation with the running process, its answers prepared."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgswitch.admin.result_set import Columns, data_rows, description
from pgswitch.admin.show.sockets import FDS, HANDOVER
from pgswitch.errors.base import FatalError
from pgswitch.net.sockets import send_with_descriptors
from pgswitch.takeover.predecessor import Predecessor
from pgswitch.wire import encode
from tests.fakes.messages import error, split
from tests.strangers import by_a_stranger, stranger

READY = encode.ready_for_query()
WELCOME = encode.auth_ok() + encode.parameter_status("server_version", "x") + READY
SUSPENDED = encode.command_complete("SUSPEND") + READY
ROWS = (
    (7, "pooler", None, None, "unix", 0, 0, 0, *(None,) * 7, '{"disabled": []}'),
    (
        *(9, "client", "joe", "shop", "10.0.0.1", 4000, 2**64 - 2, 8),
        *("UTF8", "on", "ISO", "UTC", None, None, None),
        '{"held": "\\u00e9"}',
    ),
    (10, "client", None, None, "10.0.0.1", 4001, 0, 0, *(None,) * 7, "untouched"),
)
OURS, REFERENCE = HANDOVER.columns, FDS.columns


class Old:
    """The other end of the conversation."""

    def __init__(self) -> None:
        """Begin with nothing said."""
        ours, self.socket = socket.socketpair()
        self.predecessor = Predecessor(ours)
        self.file = os.open(os.devnull, os.O_RDONLY)

    def say(self, data: bytes) -> None:
        """Prepare an answer."""
        self.socket.sendall(data)

    def give(self, wanted: Columns[Any], *, descriptors: int = 3) -> None:
        """Prepare rows, with a descriptor each."""
        width = len(wanted)
        data, attached = description(wanted), []
        for at, row in enumerate(data_rows(wanted, [one[:width] for one in ROWS])):
            if at < descriptors:
                attached.append((len(data), self.file))
            data += row
        data += encode.command_complete("SHOW") + READY
        send_with_descriptors(self.socket, data, attached)

    def heard(self) -> list[tuple[str, bytes]]:
        """Return what we said after the start-up packet."""
        self.socket.setblocking(False)  # noqa: FBT003 - its only argument
        data = self.socket.recv(65536)
        size = int.from_bytes(data[:4], "big")
        assert b"user\0pgbouncer\0database\0pgbouncer" in data[:size]
        return split(data[size:])

    def close(self) -> None:
        """Close everything."""
        self.predecessor.give_up()
        self.socket.close()
        os.close(self.file)


@pytest.fixture
def old() -> Iterator[Old]:
    """Return an old process."""
    made = Old()
    yield made
    made.close()


def test_what_is_inherited(old: Old) -> None:
    """Each row with its own descriptor, in order."""
    old.say(WELCOME + SUSPENDED)
    old.give(OURS)
    first, second, third = old.predecessor.sockets()
    assert [text for _, text in old.heard()] == [b"SUSPEND;\0", b"SHOW HANDOVER;\0"]
    assert (first.task, first.old_fd, first.state) == ("pooler", 7, {"disabled": []})
    assert (second.user, second.database, second.link) == ("joe", "shop", 8)
    assert second.cancel_key == (2**64 - 2).to_bytes(8, sys.byteorder)
    assert second.parameters["TimeZone"] == "UTC"
    assert second.state == {"held": "é"}
    assert (third.is_untouched, third.state, third.cancel_key) == (True, {}, b"")
    assert len({one.fd for one in (first, second, third)}) == 3
    for one in (first, second, third):
        os.close(one.fd)


def test_a_pgbouncer(old: Old) -> None:
    """It knows SHOW FDS only."""
    old.say(WELCOME + SUSPENDED + error("invalid command") + READY)
    old.give(REFERENCE)
    sockets = old.predecessor.sockets()
    assert [one.state for one in sockets] == [{}, {}, {}]
    assert sockets[1].parameters["client_encoding"] == "UTF8"
    for one in sockets:
        os.close(one.fd)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (error("not allowed", "08P01", "FATAL"), "takeover failed: not allowed"),
        (encode.auth_md5(b"salt"), "takeover failed: the old process asks for a"),
        (
            WELCOME + error("already suspended/paused") + READY,
            "takeover failed: already suspended/paused",
        ),
        (b"", "takeover failed: the old process ended"),
        (WELCOME[:7], "takeover failed: the old process ended"),
    ],
)
def test_refusals(old: Old, said: bytes, text: str) -> None:
    """Each ends the attempt, with what was said."""
    old.say(said)
    old.socket.shutdown(socket.SHUT_WR)
    with pytest.raises(FatalError, match=text):
        old.predecessor.sockets()


def test_rows_without_descriptors(old: Old) -> None:
    """Nothing is done by halves."""
    old.say(WELCOME + SUSPENDED)
    old.give(OURS, descriptors=2)
    with pytest.raises(FatalError, match="3 rows came with 2 sockets"):
        old.predecessor.sockets()


def test_the_end(old: Old, tmp_path: Path) -> None:
    """It gets the order to end; its pid file must go."""
    old.socket.shutdown(socket.SHUT_WR)
    old.predecessor.end(str(tmp_path / "gone"))
    assert split(old.socket.recv(100)) == [("Q", b"SHUTDOWN;\0")]


def test_a_process_that_does_not_end(
    old: Old, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not waited for for ever."""
    monkeypatch.setattr("pgswitch.takeover.predecessor.END_S", 0.0)
    pidfile = tmp_path / "pid"
    pidfile.write_text("1")
    old.socket.shutdown(socket.SHUT_WR)
    with pytest.raises(FatalError, match="is still there"):
        old.predecessor.end(str(pidfile))


def test_nobody_there(tmp_path: Path) -> None:
    """No process listens."""
    assert Predecessor.at(str(tmp_path / "none")) is None


# Who is there at all.


@pytest.fixture
def shared() -> Iterator[Path]:
    """Return a folder like /tmp: world-writable and sticky."""
    folder = Path(tempfile.mkdtemp(prefix="pgswitch-", dir="/tmp"))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def listening(path: Path) -> socket.socket:
    """Return a socket that listens at a path."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(0)
    return listener


def test_a_process_of_ours(shared: Path) -> None:
    """It is trusted, in a world-writable folder too, if that is sticky."""
    path = shared / "s"
    with listening(path):
        found = Predecessor.at(str(path))
        assert found is not None
        found.give_up()


def test_a_folder_where_sockets_can_be_exchanged(shared: Path) -> None:
    """Whatever is found there may be meant for something else."""
    path = shared / "s"
    shared.chmod(0o777)
    with listening(path), pytest.raises(FatalError) as caught:
        Predecessor.at(str(path))
    assert caught.value.text == (
        f"takeover refused: everyone may write to {shared} and replace the socket there"
    )


@pytest.mark.parametrize("is_link", [True, False])
def test_something_else_in_its_place(shared: Path, *, is_link: bool) -> None:
    """A symbolic link to our socket does not count as a socket."""
    path = shared / "s"
    with listening(shared / "real"):
        if is_link:
            path.symlink_to(shared / "real")
        else:
            path.touch()
        with pytest.raises(FatalError, match="is not a socket of our own user"):
            Predecessor.at(str(path))


def test_a_socket_of_another_user(shared: Path) -> None:
    """Nothing is sent to an unknown process there."""
    path = shared / "s"
    refused = pytest.raises(FatalError, match="is not a socket of our own user")
    with by_a_stranger(lambda: listening(path)), refused:
        Predecessor.at(str(path))


def test_another_user_behind_a_socket_of_ours(shared: Path) -> None:
    """The kernel names the listener, whichever user owns the file."""
    path = shared / "s"
    with by_a_stranger(lambda: listening(path)):
        os.chown(path, os.getuid(), os.getgid())
        with pytest.raises(FatalError) as caught:
            Predecessor.at(str(path))
    assert caught.value.text == (
        f"takeover refused: the process at {path} runs as another user"
        f" (id {stranger().uid})"
    )


def test_a_process_that_does_not_accept(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there, but is not waited for for ever."""
    monkeypatch.setattr("pgswitch.takeover.predecessor.TIMEOUT_S", 0.0)
    path = shared / "s"
    with listening(path), socket.socket(socket.AF_UNIX) as first:
        first.connect(str(path))
        with pytest.raises(FatalError, match="accepts no connection"):
            Predecessor.at(str(path))
