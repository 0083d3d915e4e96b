"""Who else may change what lies at a path, or read it."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from pgswitch.config.model import Configuration, Settings
from pgswitch.config.trust import Trust, doubts, key_in_the_open, open_unplanted
from tests.strangers import give, stranger


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file we own in a folder we own, two folders down."""
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    path = folder / "file"
    path.touch(0o600)
    return path


def a_strange_group() -> int:
    """Return a group that is neither our own nor root's; only root can use it."""
    return stranger().gid


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o000])
def test_ours_alone(file: Path, mode: int) -> None:
    """Such a file is trusted, no matter who may read it."""
    file.chmod(mode)
    assert Trust().file(str(file)) == ""
    assert Trust().place(str(file)) == ""


@pytest.mark.parametrize("up", [0, 1, 2])
def test_everybody_may_write(file: Path, up: int) -> None:
    """The file itself, its folder, or one above it."""
    path = [file, *file.parents][up]
    path.chmod(0o777)
    text = f"{path} can be written by everyone (mode 0777)"
    assert Trust().file(str(file)) == text
    assert Trust().place(str(file)) == (text if up else "")


def test_a_sticky_folder(file: Path) -> None:
    """It leaves each entry to its owner, as /tmp does; but a folder is then open."""
    file.parent.chmod(0o1777)
    assert Trust().file(str(file)) == ""
    assert Trust().place(str(file)) == ""
    assert "can be written by everyone (mode 1777)" in Trust().file(str(file.parent))


def test_a_symbolic_link_is_its_target(file: Path, tmp_path: Path) -> None:
    """A symbolic link to the file changes nothing."""
    stream = tmp_path / "link"
    stream.symlink_to(file)
    file.parent.chmod(0o777)
    assert "can be written by everyone" in Trust().file(str(stream))


@pytest.mark.parametrize("up", [0, 1, 2])
@pytest.mark.parametrize("mode", [0o700, 0o1777])
def test_of_another_user(file: Path, up: int, mode: int) -> None:
    """Whose it is may change it, sticky or not; the one we become is trusted."""
    path = [file, *file.parents][up]
    path.chmod(mode)
    give(path)
    account = stranger()
    text = f"{path} belongs to another user (id {account.uid})"
    assert Trust().file(str(file)) == text
    if mode == 0o700:
        assert Trust(account.name).file(str(file)) == ""
    assert Trust("no such user").file(str(file)) == text


def test_a_group(file: Path) -> None:
    """A foreign group may write to it."""
    file.chmod(0o660)
    assert Trust().file(str(file)) == ""
    os.chown(file, -1, a_strange_group())
    assert "can be written by group" in Trust().file(str(file))


@pytest.mark.parametrize("path", ["missing", "missing/file", "file/file", "\0", "loop"])
def test_nothing_there(file: Path, path: str) -> None:
    """A missing file is trusted: there is nothing to change."""
    (file.parent / "loop").symlink_to("loop")
    assert Trust().file(f"{file.parent}/{path}") == ""
    assert Trust().place(f"{file.parent}/{path}") == ""


@pytest.mark.parametrize(
    ("mode", "who"),
    [(0o600, ""), (0o400, ""), (0o604, "everyone"), (0o620, "others")],
)
def test_keys(file: Path, mode: int, who: str) -> None:
    """What PostgreSQL would refuse."""
    file.chmod(mode)
    said = f"{file} can be read by {who} (mode {mode:04o})" if who else ""
    assert key_in_the_open(str(file)) == said
    assert key_in_the_open(str(file.parent)) == ""
    assert key_in_the_open(f"{file}/no") == ""


def test_a_key_for_a_group(file: Path) -> None:
    """The group may read it if it is root's, as packages of certificates have it."""
    account = stranger()
    file.chmod(0o640)
    assert key_in_the_open(str(file)) == ""
    os.chown(file, account.uid, -1)
    assert "can be read by others" in key_in_the_open(str(file))


def test_links_of_ours(file: Path, tmp_path: Path) -> None:
    """They are followed; a missing target is created too."""
    for target in (file, file.parent / "new"):
        stream = tmp_path / f"to-{target.name}"
        stream.symlink_to(target)
        os.close(open_unplanted(str(stream), os.O_WRONLY | os.O_CREAT))
        assert target.exists()


def test_links_of_others(file: Path, tmp_path: Path) -> None:
    """They are not followed, and no target is created."""
    target = file.parent / "new"
    stream = tmp_path / "link"
    stream.symlink_to(target)
    give(stream)
    with pytest.raises(OSError, match="symbolic link of another user") as caught:
        open_unplanted(str(stream), os.O_WRONLY | os.O_CREAT)
    assert caught.value.errno == errno.ELOOP
    assert not target.exists()


def test_doubts(file: Path) -> None:
    """Each file is named by its setting, each place, and code only once."""
    path = str(file)
    settings = replace(
        Settings(),
        auth_file=path,
        server_tls_key_file=path,
        logfile=f"{path}.log",
        unix_socket_dir=str(file.parent),
    )
    configuration = Configuration(settings=settings, files=(path,))
    assert list(doubts(configuration, [path])) == []
    file.chmod(0o604)
    file.parent.chmod(0o777)
    folder = f"{file.parent} can be written by everyone (mode 0777)"
    assert list(doubts(configuration, [path, path])) == [
        f"configuration: {folder}",
        f"auth_file: {folder}",
        f"server_tls_key_file: {folder}",
        f"server_tls_key_file: {path} can be read by everyone (mode 0604)",
        f"logfile: {folder}",
        f"unix_socket_dir: {folder}",
        f"rules: {folder}, and with it the code that runs here",
    ]
    file.parent.chmod(0o1777)
    said = [one for one in doubts(configuration, [path]) if "rules" in one]
    assert said == [
        f"rules: {folder}, and with it the code that runs here".replace("0777", "1777")
    ]
    configuration = replace(configuration, settings=Settings(unix_socket_dir="@name"))
    assert list(doubts(configuration)) == []
