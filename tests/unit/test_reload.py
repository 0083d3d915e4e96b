"""Files that are read again: what is put in force, what stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pgswitch.config.load import read_text, with_setting
from pgswitch.config.userlist import read_userlist
from pgswitch.errors.base import FatalError
from tests.fakes.messages import ANSWER, error_text, query
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
    """A reload that would lock out all users fails; some bad lines do no harm."""
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


def test_a_cut_auth_file(world: World) -> None:
    """A reload of a file that is half written changes nothing."""
    before = world.service.configuration
    users = world.folder / "users.txt"
    users.write_text('"app" ""\n"oth')
    assert not world.reload(settings="query_timeout = 7")
    assert world.service.configuration is before
    assert world.logged(f"(line 2) in auth_file {users}")
    assert world.logged(f"ERROR auth_file {users} ends in the midst of a line")
    world.wait(1)
    assert world.client(user="other").state() == "waiting"


@pytest.mark.parametrize("text", ["app other\n", '"app" ""\n"oth'])
def test_a_bad_auth_file_at_the_start(
    world_of: WorldOf, tmp_path: Path, text: str
) -> None:
    """There are no users of before to go on with."""
    users = tmp_path / "bad"
    users.write_text(text)
    with pytest.raises(FatalError, match="cannot load auth_file"):
        world_of(settings=f"auth_file = {users}")


RULES = "host all all all trust\n"


@pytest.mark.parametrize("name", ["hba", "ident"])
@pytest.mark.parametrize(
    ("text", "line"),
    [
        (None, "ERROR could not open {name} config file {path}: No such file"),
        ("host all", "ERROR could not parse {name} config line 1"),
        ("\ufeff\ufeffcut", "ERROR could not parse {name} config line 1"),
    ],
)
def test_a_bad_file_of_rules(
    world_of: WorldOf, tmp_path: Path, name: str, text: str | None, line: str
) -> None:
    """A reload that would lock out all clients fails: all stays as it was."""
    (tmp_path / "hba").write_text(RULES)
    (tmp_path / "ident").write_text("map a b\n")
    settings = (
        f"auth_type = hba\nauth_hba_file = {tmp_path}/hba\n"
        f"auth_ident_file = {tmp_path}/ident\nquery_timeout = "
    )
    world = world_of(settings=settings + "6")
    before = world.service.configuration
    path = tmp_path / name
    path.unlink()
    if text is not None:
        path.write_text(text)
    console = world.console()
    world.write(settings=settings + "7")
    console.say(query("RELOAD"))
    assert "RELOAD failed" in error_text(console.hear())
    assert world.service.configuration is before
    assert world.logged(line.format(name=name, path=path))
    assert world.logged("WARNING config file loading failed")
    assert world.client().state() == "waiting"
    path.write_text(RULES if name == "hba" else "map a b\n")
    assert world.reload(settings=settings + "7")
    assert world.client().state() == "waiting"


def test_lines_that_are_left_out(world_of: WorldOf, tmp_path: Path) -> None:
    """Do not keep the others from counting."""
    path = tmp_path / "hba"
    path.write_text("host all al\n" + RULES)
    settings = f"auth_type = hba\nauth_hba_file = {path}"
    world = world_of(settings=settings)
    assert world.reload(settings=settings)
    assert world.logged("WARNING could not parse hba config line 1")
    assert world.client().state() == "waiting"


def test_each_file_is_read_once(
    world_of: WorldOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload applies exactly what it has checked, even if files change meanwhile."""
    hba, users = tmp_path / "hba", tmp_path / "users.txt"
    hba.write_text(RULES)
    settings = f"auth_type = hba\nauth_hba_file = {hba}"
    world = world_of(settings=settings)
    read: list[str] = []

    def then_broken(path: Path, get: Callable[[str], object]) -> object:
        found = get(str(path))
        read.append(path.name)
        path.write_text("half writ")
        return found

    monkeypatch.setattr(
        "pgswitch.auth.auth_file.read_userlist",
        lambda path: then_broken(Path(path), read_userlist),
    )
    monkeypatch.setattr(
        "pgswitch.auth.hba_policy.read_text",
        lambda path: then_broken(Path(path), read_text),
    )
    users.write_text('"app" ""\n"new" ""\n')
    assert world.reload(settings=settings)
    assert sorted(read) == ["hba", "users.txt"]
    assert world.client(user="new").state() == "waiting"


def test_byte_order_marks(world_of: WorldOf, tmp_path: Path) -> None:
    """No file of the configuration is spoilt by one, nor is an included one."""
    mark = "\ufeff"
    (tmp_path / "hba").write_text(f"{mark}local all all peer map=m\n{RULES}")
    (tmp_path / "ident").write_text(f"{mark}m a b\n")
    (tmp_path / "more").write_text(f"{mark}query_timeout = 7\n")
    settings = (
        f"auth_type = hba\nauth_hba_file = {tmp_path}/hba\n"
        f"auth_ident_file = {tmp_path}/ident\n%include {tmp_path}/more"
    )
    world = world_of(settings=settings)
    users = world.folder / "users.txt"
    users.write_text(mark + users.read_text())
    world.write(settings=settings)
    ini = Path(world.path)
    ini.write_text(mark + ini.read_text())
    assert world.service.reload()
    assert world.service.configuration.settings.query_timeout == 7
    assert not world.logged("could not parse")
    assert world.client().state() == "waiting"


def test_a_bad_start(world_of: WorldOf, tmp_path: Path) -> None:
    """Files that allow no login are an ERROR; the rest of the service runs."""
    settings = f"auth_type = hba\nauth_hba_file = {tmp_path}/"
    world = world_of(settings=f"{settings}none")
    assert world.logged(f"ERROR could not open hba config file {tmp_path}/none")
    (tmp_path / "cut").write_text("host all al")
    other = world_of(settings=f"{settings}cut")
    path = tmp_path / "cut"
    assert other.logged("WARNING could not parse hba config line 1")
    assert other.logged(f"ERROR no line of auth_hba_file {path} can be read")
    assert other.client().fault == "no authentication method is found"


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
    line = f"WARNING rules: {path} can be written by everyone (mode 0666)"
    assert len([one for one in world.log if one.startswith(line)]) == 1
    assert world.service.reload()
    assert len([one for one in world.log if one.startswith(line)]) == 2
    path.chmod(0o600)
    (world.folder / "users.txt").chmod(0o602)
    assert world.service.reload()
    assert len([one for one in world.log if one.startswith(line)]) == 2
    assert world.logged("WARNING auth_file: ")


def test_a_log_file_by_a_foreign_symbolic_link(world: World, tmp_path: Path) -> None:
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
    assert world.logged("ERROR TLS setup failed: client_tls_sslmode needs client_tls_k")
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
