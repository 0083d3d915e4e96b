"""Which clients get in: the checks, their order, the welcome."""

from __future__ import annotations

import os

import pytest

from pgswitch.admin.statements import named_rows
from pgswitch.auth import ldap
from pgswitch.auth.worker_threads import WorkerThreads
from pgswitch.compiled import is_compiled
from pgswitch.wire import encode
from pgswitch.wire.scram import make_verifier
from tests.fakes.messages import error_code, error_text, kinds, message, query
from tests.fakes.world import Client, World, WorldOf

LONG = "u" * 128


def test_a_good_login(world: World) -> None:
    """The welcome: parameters as servers report them, a key, ReadyForQuery."""
    client, _server = world.pair()
    assert world.logged("LOG C-")
    assert client.state() == "idle"
    assert world.service.login_service.arriving == {}
    assert world.pool().idle_pool.counters.client_login_count == 1


@pytest.mark.parametrize(
    ("settings", "start", "words"),
    [
        ("max_client_conn = 1", {"speed": "9"}, "unsupported startup parameter: speed"),
        ("max_client_conn = 1", {"user": LONG}, "no more connections allowed"),
        ("max_db_client_connections = 1", {"user": LONG}, "username too long"),
        (
            "max_db_client_connections = 1\nmax_user_client_connections = 1",
            {},
            "client connections exceeded",
        ),
        (
            "max_db_client_connections = 1",
            {"user": "nobody"},
            "client connections exceeded",
        ),
        ("", {"user": "nobody", "database": "nowhere"}, "authentication failed"),
        ("", {"database": "nowhere"}, "no such database: nowhere"),
    ],
)
def test_the_first_thing_that_is_wrong(
    world_of: WorldOf, settings: str, start: dict[str, str], words: str
) -> None:
    """With several errors, the client gets the first in this order."""
    world = world_of(settings=settings)
    world.client()
    client = world.connect()
    given = {"user": "app", "database": "db", **start}
    client.say(encode.startup(given.items()))
    assert words in client.fault
    assert client.is_gone()


@pytest.mark.parametrize(
    ("start", "shown", "line"),
    [
        ({}, "db/app", "login attempt: db=db user=app"),
        ({"user": "nobody"}, "(nodb)/(nouser)", "no such user: nobody"),
        ({"user": "nobody"}, "(nodb)/nobody", "login attempt: db=db user=nobody"),
        ({"database": "nowhere"}, "(nodb)/app", "login failed: db=nowhere user=app"),
        (
            {"speed": "9"},
            "(nodb)/(nouser)",
            "unsupported startup parameter: speed=9",
        ),
    ],
)
def test_what_log_lines_call_a_client(
    world: World, start: dict[str, str], shown: str, line: str
) -> None:
    """By its user's name once that was looked up, by its database if both exist."""
    client = world.connect()
    given = {"user": "app", "database": "db", **start}
    client.say(encode.startup(given.items()))
    assert world.logged(f": {shown}@192.0.2.1:40000 {line}")


def test_a_refused_proof_is_logged_once(world_of: WorldOf) -> None:
    """As the reason for closing; "login failed" is for authenticated clients."""
    world = world_of(settings="auth_type = plain")
    world.client(user="nobody").say(message(b"p", b"secret\0"))
    assert world.logged("closing because: password authentication failed")
    assert not world.logged("login failed")


@pytest.mark.parametrize(
    ("section", "text", "allowed"),
    [
        ("settings", "max_client_conn = 2", 2),
        ("settings", "max_db_client_connections = 2", 2),
        ("settings", "max_user_client_connections = 2", 2),
        ("databases", "db = host=10.0.0.1 max_db_client_connections=3", 3),
        ("users", "app = max_user_client_connections=3", 3),
    ],
)
def test_limits(world_of: WorldOf, section: str, text: str, allowed: int) -> None:
    """So many and no more; a client that leaves makes room."""
    world = world_of(**{section: text})
    clients = [world.client() for _ in range(allowed + 1)]
    assert [client.is_gone() for client in clients] == [False] * allowed + [True]
    clients[0].drop()
    assert not world.client().is_gone()


def test_the_console_is_not_limited(world_of: WorldOf) -> None:
    """An operator gets in when clients do not any more."""
    world = world_of(settings="max_client_conn = 1")
    world.pair()
    assert world.client().is_gone()
    assert world.console().state() == "idle"


def test_the_console_is_limited_to_who_may_only_look(world_of: WorldOf) -> None:
    """Its limits of clients hold for stats users; admins count, and get in."""
    for setting in ("max_db_client_connections", "max_user_client_connections"):
        world = world_of(settings=f"stats_users = app\n{setting} = 1")
        assert world.console().state() == "idle"
        looking = [world.client("pgbouncer", "app") for _ in range(2)]
        is_gone = [client.is_gone() for client in looking]
        is_for_database = setting == "max_db_client_connections"
        assert is_gone == [is_for_database, True]
        assert f"client connections exceeded ({setting})" in looking[1].fault
        assert world.console().state() == "idle"
        own = named_rows("databases", world.service.view)[-1]
        assert own.name == "pgbouncer"
        assert own.max_client_connections == (1 if is_for_database else 0)


def test_logging_attempts(world_of: WorldOf) -> None:
    """With log_connections each is logged, with database and user."""
    world = world_of()
    world.client()
    assert world.logged("login attempt: db=db user=app tls=no replication=no")
    world = world_of(settings="log_connections = 0")
    world.client()
    assert not world.logged("login attempt")


# Proofs.


def told(client: Client) -> str:
    """Return the kinds of messages that a client was sent."""
    return kinds(client.hear())


@pytest.mark.parametrize(
    ("answer", "gone"),
    [
        (message(b"p", b"secret\0"), False),
        (message(b"p", b"wrong\0"), True),
        (query(), True),
        (message(b"X"), True),
    ],
)
def test_plain_password(world_of: WorldOf, answer: bytes, *, gone: bool) -> None:
    """Asked for, compared; nothing but a password message answers the question."""
    world = world_of(settings="auth_type = plain")
    (world.folder / "users.txt").write_text('"app" "secret"\n')
    world.reload(settings="auth_type = plain")
    client = world.client()
    assert told(client) == "R"
    client.say(answer)
    assert client.is_gone() is gone


@pytest.mark.skipif(is_compiled(), reason="compiled code takes no stand-ins")
@pytest.mark.parametrize("password", [b"secret\0", b"wrong\0"])
@pytest.mark.parametrize("user", ["app", "nobody"])
def test_too_many_logins(
    world_of: WorldOf, monkeypatch: pytest.MonkeyPatch, user: str, password: bytes
) -> None:
    """The error shows neither that a password is wrong nor that a user exists."""
    world = world_of(settings="auth_type = plain")
    verifier = make_verifier("secret", b"0123456789abcdef", 1)
    (world.folder / "users.txt").write_text(f'"app" "{verifier}"\n')
    world.reload(settings="auth_type = plain")
    full = WorkerThreads(None, world.captured.log, name="x", threads=1, max_queued=0)
    monkeypatch.setattr(world.service.workers, "of", lambda _work: full)
    client = world.client("db", user)
    client.say(message(b"p", password))
    heard = client.hear()
    assert error_code(heard) == "53300"
    assert error_text(heard) == "too many logins at once"
    assert client.is_gone()
    assert not world.logged("authentication failed")
    assert world.worked == []


def test_any_needs_a_forced_user(world_of: WorldOf) -> None:
    """Without one the pool has no user for its servers."""
    world = world_of(
        settings="auth_type = any",
        databases="forced = host=10.0.0.1 user=owner\nfree = host=10.0.0.1",
    )
    assert world.client("forced", "whoever").state() == "waiting"
    for name in ("free", "nowhere"):
        assert world.client(name, "whoever").fault == "bouncer config error"
    assert world.logged("ERROR C-")
    assert world.logged("auth_type=any requires forced user")


# The console.


@pytest.mark.parametrize(
    ("user", "settings", "admin"),
    [
        ("admin", "", True),
        ("other", "stats_users = other", False),
        ("other", "auth_type = any", False),
        ("other", "", None),
    ],
)
def test_console_rights(
    world_of: WorldOf, user: str, settings: str, *, admin: bool | None
) -> None:
    """Admins command, stats users look, others are refused before their proof."""
    world = world_of(settings=settings)
    client = world.client("pgbouncer", user)
    if admin is None:
        assert client.fault == "not allowed"
        return
    client.hear()
    client.say(query("PAUSE"))
    assert world.context.paused is admin


@pytest.mark.parametrize("method", ["plain", "md5", "scram-sha-256"])
def test_unknown_users_on_the_console(world_of: WorldOf, method: str) -> None:
    """They are asked like all others: nothing shows which users exist."""
    world = world_of(settings=f"auth_type = {method}")
    client = world.client("pgbouncer", "nobody")
    assert told(client) == "R"
    client.say(message(b"p", b"guess\0"))
    assert client.fault
    assert client.fault != "not allowed"


def test_a_directory_makes_no_admins(
    world_of: WorldOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An admin whom an HBA line authenticates by LDAP still has to be in the list."""
    monkeypatch.setattr(ldap, "check", lambda *_: True)
    options = 'ldapserver=a ldapprefix="uid="'
    world = world_of(settings="auth_type = trust")
    (world.folder / "hba").write_text(f"host all all all ldap {options}\n")
    world.reload(settings=f"auth_type = hba\nauth_hba_file = {world.folder / 'hba'}")
    client = world.client("pgbouncer", "nobody")
    client.say(message(b"p", b"secret\0"))
    assert client.fault == "not allowed"
    client = world.client("pgbouncer", "admin")
    client.say(message(b"p", b"secret\0"))
    assert client.state() == "idle"


def test_the_owner_of_the_process(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the unix socket, pgbouncer needs no proof if the OS user is our own."""
    for uid, welcome in ((os.geteuid(), True), (os.geteuid() + 1, False)):
        client = world.connect()
        client.frontend.credentials = (1, uid)
        client.say(encode.startup([("user", "pgbouncer"), ("database", "pgbouncer")]))
        assert (client.state() == "idle") is welcome
        assert client.is_gone() is not welcome
    assert world.logged("pgbouncer access from unix socket")


def test_a_newer_protocol(world: World) -> None:
    """Protocol 3.2 is negotiated down first of all."""
    client = world.connect()
    client.say(encode.startup_3_2([("user", "app"), ("database", "db")]))
    assert told(client) == "v"


@pytest.mark.parametrize("database", ["db", "nowhere"])
@pytest.mark.parametrize("then", [b"", b"p\xff\xff\xff\xff"])
def test_another_start_up_packet(world_of: WorldOf, database: str, then: bytes) -> None:
    """In the midst of a proof nothing else is taken, nor a message without end."""
    world = world_of(settings="auth_type = scram-sha-256")
    client = world.connect()
    start = [("user", "app"), ("database", database)]
    client.say(encode.startup(start))
    assert told(client) == "R"
    client.say(then or encode.startup([("user", "admin"), ("database", "db")]))
    assert client.is_gone()
    assert client.frontend.user == "app"
    assert not client.frontend.logged_in


# Time.


def test_a_login_that_takes_too_long(world_of: WorldOf) -> None:
    """A client that makes no progress is disconnected, the others stay."""
    world = world_of(settings="client_login_timeout = 10\nauth_type = plain")
    silent, asked = world.connect(), world.client()
    console = world.connect()
    world.wait(9)
    late = world.connect()
    assert not silent.is_gone()
    world.wait(2)
    assert silent.fault == "client_login_timeout"
    assert asked.is_gone()
    assert console.is_gone()
    assert not late.is_gone()
