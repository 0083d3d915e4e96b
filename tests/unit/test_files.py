"""Files that are read again: what is put in force, what stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgswitch.config.load import with_setting
from tests.fakes.messages import ANSWER
from tests.fakes.world import World, WorldOf
from tests.strangers import give


def test_reloading(world: World) -> None:
    """The file is read again: settings, databases, users."""
    (world.folder / "users.txt").write_text('"newcomer" ""\n')
    assert world.reload(databases="new = host=10.0.0.9", settings="query_timeout = 7")
    assert world.service.configuration.settings.query_timeout == 7
    assert world.client("new", "newcomer").state() == "waiting"
    assert world.client("new", "app").is_gone()
    assert world.attempts[0].host == "10.0.0.9"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("pool_mode = sometimes", "pool_mode"),
        ("%include /nowhere/at/all", "/nowhere/at/all"),
    ],
)
def test_a_bad_file(world: World, text: str, line: str) -> None:
    """Nothing of it is taken; every problem is a line in the log."""
    before = world.service.configuration
    assert not world.reload(settings=f"query_timeout = 7\n{text}")
    assert world.service.configuration is before
    assert world.logged(line)
    assert world.logged("WARNING config file loading failed")


def test_a_bad_auth_file(world: World) -> None:
    """A reload that would lock everybody out is none; some bad lines do no harm."""
    before = world.service.configuration
    users = world.folder / "users.txt"
    users.write_text("app\nother\n")
    assert not world.reload(settings="query_timeout = 7")
    assert world.service.configuration is before
    assert world.logged(f"(line 2) in auth_file {users}")
    assert world.logged(f"ERROR no line of auth_file {users} can be read")
    assert world.logged("WARNING config file loading failed")
    assert world.client().state() == "waiting"
    users.write_text('other\n"app" ""\n')
    assert world.reload(settings="query_timeout = 7")
    assert world.client(user="other").is_gone()
    assert world.client().state() == "waiting"


def test_settings_of_the_start(world: World) -> None:
    """They stay until the next start."""
    assert world.reload(settings="listen_port = 7777\nquery_timeout = 7")
    settings = world.service.configuration.settings
    assert (settings.listen_port, settings.query_timeout) == (6432, 7)


def test_a_log_file_that_cannot_be_opened(world: World) -> None:
    """The rest of the configuration holds all the same."""
    path = world.folder / "missing" / "log"
    assert world.reload(settings=f"logfile = {path}\nquery_timeout = 7")
    assert world.logged(f"ERROR could not open log file {path}: No such file")
    assert world.service.configuration.settings.query_timeout == 7


def test_files_that_others_may_write(world_of: WorldOf, tmp_path: Path) -> None:
    """They are warned of at the start and at each reload, code of rules too."""
    path = tmp_path / "rules.py"
    path.write_text("def routing_rules(username, query):\n    return None\n")
    path.chmod(0o666)
    world = world_of(settings=f"routing_rules_py_module_file = {path}")
    line = f"WARNING rules: {path} can be written by everybody (mode 0666)"
    assert len([one for one in world.log if one.startswith(line)]) == 1
    assert world.service.reload()
    assert len([one for one in world.log if one.startswith(line)]) == 2
    path.chmod(0o600)
    (world.folder / "users.txt").chmod(0o602)
    assert world.service.reload()
    assert len([one for one in world.log if one.startswith(line)]) == 2
    assert world.logged("WARNING auth_file: ")


def test_a_log_file_by_a_link_of_another_user(world: World, tmp_path: Path) -> None:
    """Nothing is written to where it leads."""
    path, target = tmp_path / "log", tmp_path / "target"
    path.symlink_to(target)
    give(path)
    assert world.reload(settings=f"logfile = {path}")
    assert world.logged(
        f"could not open log file {path}: it is a symbolic link of another user"
    )
    assert not target.exists()


def test_a_log_file_is_opened_anew(world: World, tmp_path: Path) -> None:
    """For log rotation: a reload makes the file again that was moved away."""
    path = tmp_path / "log"
    for name in ("first", "second"):
        world.reload(settings=f"logfile = {path}")
        world.context.log.log(name)
        assert name in path.rename(tmp_path / name).read_text()


def test_clients_feel_a_reload_at_once(world: World) -> None:
    """What holds for the present ones is looked up when it is needed."""
    client, _server = world.asking()
    changed = with_setting(world.service.configuration, "query_timeout", "5")
    world.service.files.apply(changed)
    world.wait(6)
    assert client.is_gone()


def test_a_reload_with_broken_tls(world: World) -> None:
    """All else of the configuration is in force."""
    before = world.context.tls.clients
    assert world.reload(settings="client_tls_sslmode = require\nquery_timeout = 7")
    assert world.logged(
        "ERROR TLS configuration could not be reloaded, keeping old configuration"
    )
    assert world.context.tls.clients is before
    assert world.service.configuration.settings.query_timeout == 7
    assert not world.service.operations.tls_is_current()


def test_changed_tls_replaces_servers(world: World) -> None:
    """Those connected by the old settings are closed once they are free."""
    client, server = world.asking()
    assert world.reload(settings="server_tls_sslmode = require")
    server.say(ANSWER)
    assert server.is_gone()
    assert not client.is_gone()
