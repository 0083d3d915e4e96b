"""auth_query: asked in the right place, believed, waited for, failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgswitch.admin.statements import named_rows
from pgswitch.auth import pam
from pgswitch.wire import encode
from pgswitch.wire.scram import make_verifier
from tests.fakes.messages import READY, error, kinds, message, query, split
from tests.fakes.world import Client, Server, World, WorldOf
from tests.unit.rules.files import write

ASKING = "auth_user = asker\n"
TWO = encode.row_description([("name", 25, -1), ("secret", 25, -1)])
BATCH = "PBDES"


def row(name: str | None = "guest", secret: str | None = "secret") -> bytes:
    """Return the answer of a server that has the user."""
    head = message(b"1") + message(b"2") + TWO
    return head + encode.data_row([name, secret]) + message(b"C", b"SELECT 1\0") + READY


NO_ROW = message(b"1") + message(b"2") + TWO + message(b"C", b"SELECT 0\0") + READY
FAILED = error("no such table") + READY


def asked(
    world_of: WorldOf, settings: str = "", **sections: str
) -> tuple[World, Client, Server]:
    """Return a client that auth_file does not have, and the server of auth_query."""
    world = world_of(settings=ASKING + settings, **sections)
    client = world.client(user="guest")
    server = world.server()
    return world, client, server


@pytest.mark.parametrize("secret", ["secret", "", None])
def test_a_user_that_the_server_knows(world_of: WorldOf, secret: str | None) -> None:
    """It gets in under trust, whatever the secret; its servers are its own."""
    world, client, server = asked(world_of)
    assert server.backend.user == "asker"
    assert client.state() == "waiting"
    assert kinds(server.hear()) == BATCH
    server.say(row(secret=secret))
    assert server.state() == "idle"
    assert world.logged("login attempt: db=db user=guest")
    own = world.server()
    assert own.backend.user == "guest"
    assert client.state() == "idle"


def test_rules_after_a_wait(world_of: WorldOf, tmp_path: Path) -> None:
    """They see the queries of a client whose login has waited, from the first on."""
    path = write(tmp_path, "r.py", "def rewrite_query(u, q): return 'other'")
    rule = f"rewrite_query_py_module_file = {path}\n"
    world, first, server = asked(world_of, rule)
    server.say(row())
    own = world.server()
    first.drop()
    client = world.client(user="guest")
    server.say(row())
    client.say(query())
    assert own.answer() == query("other")


def test_rules_after_a_wait_see_what_was_sent_ahead(
    world_of: WorldOf, tmp_path: Path
) -> None:
    """A query that came before the login had ended is not left behind."""
    path = write(tmp_path, "r.py", "def rewrite_query(u, q): return 'other'")
    rule = f"rewrite_query_py_module_file = {path}\n"
    world, first, server = asked(world_of, rule)
    server.say(row())
    own = world.server()
    first.drop()
    client = world.client(user="guest")
    client.say(query())
    server.say(row())
    assert own.answer() == query("other")


def test_the_name_of_the_answer(world_of: WorldOf) -> None:
    """Is the client's from then on."""
    world, _client, server = asked(world_of)
    server.say(row(name="Guest"))
    assert world.accept().backend.user == "Guest"


@pytest.mark.parametrize(
    ("answer", "text", "line", "fit"),
    [
        (NO_ROW, '"trust" authentication failed', "no such user: guest", True),
        (
            FAILED,
            "bouncer config error",
            "error in auth_query: ERROR: no such table",
            False,
        ),
        (
            row(name=None),
            "bouncer config error",
            "auth_query response contained null user name",
            False,
        ),
    ],
)
def test_answers_without_a_user(
    world_of: WorldOf, answer: bytes, text: str, line: str, *, fit: bool
) -> None:
    """The client is refused, the log says why, the server is kept if it is sound."""
    world, client, server = asked(world_of)
    server.say(answer)
    assert client.fault == text
    assert client.is_gone()
    assert world.logged(line)
    assert server.is_gone() is not fit


def test_a_newer_protocol_is_negotiated_once(world_of: WorldOf) -> None:
    """Though the login goes on only when the answer, and then a server, is there."""
    world = world_of(settings=ASKING)
    client = world.connect()
    client.say(encode.startup_3_2([("user", "guest"), ("database", "db")]))
    world.server().say(row())
    world.server()
    heard = kinds(client.hear())
    assert heard.count("v") == 1
    assert heard.startswith("vR")
    assert heard.endswith("KZ")


def questions(client: Client, server: Server, answer: bytes) -> tuple[str, str]:
    """Return the request to a client after auth_query, and the answer to its proof.

    It fails every question.
    """
    server.hear()
    server.say(answer)
    asked = client.hear()
    reply = message(b"p", b"wrong\0")
    if asked[5:9] == b"\0\0\0\x0a":
        reply = encode.sasl_initial_response("SCRAM-SHA-256", b"n,,n=,r=nonce")
        client.say(reply)
        challenge = client.hear()
        assert b",i=4096" in challenge, challenge
        nonce = challenge[9:].partition(b",")[0]
        reply = message(b"p", b"c=biws," + nonce + b",p=" + b"A" * 43 + b"=")
    client.say(reply)
    return str(asked[:9]), client.fault


STORED = str(make_verifier("secret", b"salt", 4096))
HASHED = "md5" + "0" * 32


@pytest.mark.parametrize("method", ["plain", "md5", "scram-sha-256"])
@pytest.mark.parametrize("secret", [STORED, HASHED, "secret"])
def test_unknown_users_and_known_ones(
    world_of: WorldOf, method: str, secret: str
) -> None:
    """Look the same: the same requests, refusals, work and queries."""
    world = world_of(settings=f"{ASKING}auth_type = {method}")
    users = world.folder / "users.txt"
    users.write_text('"asker" ""\n')
    world.reload(settings=f"{ASKING}auth_type = {method}")
    server: Server | None = None
    seen = []
    for answer in (row(secret=secret), NO_ROW, row(secret=secret), NO_ROW):
        world.worked.clear()
        client = world.client(user="guest")
        server = server or world.server()
        heard = questions(client, server, answer)
        seen.append((heard, len(world.worked)))
    assert seen[1:] == [seen[0]] * 3
    assert seen[0][0][1]
    assert world.logged("no such user: guest")


def test_unknown_users_and_a_directory(
    world_of: WorldOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user unknown to auth_query is refused, whatever other methods would say."""
    monkeypatch.setattr(pam, "check", lambda *_: True)
    monkeypatch.setattr(pam, "is_available", lambda: True)
    world = world_of()
    (world.folder / "hba").write_text("host all all all pam\n")
    settings = f"{ASKING}auth_type = hba\nauth_hba_file = {world.folder}/hba"
    world.reload(settings=settings)
    server: Server | None = None
    for answer, is_in in ((NO_ROW, False), (row(), True)):
        client = world.client(user="guest")
        server = server or world.server()
        server.say(answer)
        client.say(message(b"p", b"secret\0"))
        assert client.is_gone() is not is_in


def test_no_client_variables(world_of: WorldOf) -> None:
    """Only the batch is sent, whatever parameters the client has for its session."""
    world = world_of(settings=ASKING)
    world.client(user="guest", timezone="Mars", application_name="evil")
    server = world.server()
    assert kinds(server.hear()) == BATCH


@pytest.mark.parametrize(
    ("settings", "databases", "database", "user"),
    [
        ("", "db = host=10.0.0.1 auth_user=own", "db", "own"),
        ("auth_dbname = other", "db = host=10.0.0.1\nother = host=x", "other", "asker"),
        ("", "db = host=a auth_dbname=other\nother = host=b", "other", "asker"),
        ("", "db = host=a user=forced", "db", "asker"),
    ],
)
def test_where_it_is_asked(
    world_of: WorldOf, settings: str, databases: str, database: str, user: str
) -> None:
    """The entry's own words go before the settings; never as the forced user."""
    _world, _client, server = asked(world_of, settings, databases=databases)
    assert (server.backend.database, server.backend.user) == (database, user)


def test_the_entrys_own_query(world_of: WorldOf) -> None:
    """Is the one that is asked."""
    _world, _client, server = asked(
        world_of, databases="db = host=a auth_query='SELECT mine'"
    )
    assert split(server.hear())[0][1].startswith(b"\0SELECT mine\0")


@pytest.mark.parametrize(
    ("settings", "database", "text"),
    [
        ("auth_dbname = nowhere", "db", "bouncer config error"),
        ("auth_dbname = pgbouncer", "db", "bouncer config error"),
        ("", "pgbouncer", "bouncer config error"),
        ("", "unknown", '"trust" authentication failed'),
    ],
)
def test_without_a_server_to_ask(
    world_of: WorldOf, settings: str, database: str, text: str
) -> None:
    """A configuration error is one; a missing database is not disclosed."""
    world = world_of(settings=ASKING + settings)
    assert world.client(database, "guest").fault == text
    assert not world.attempts
    reserved = 'cannot use the reserved "pgbouncer" database as an auth_dbname'
    assert bool(world.logged(reserved)) == ("pgbouncer" in settings)


def test_a_console_user(world_of: WorldOf) -> None:
    """May be known to auth_query alone, where it has a database to run in."""
    world = world_of(settings=ASKING + "auth_dbname = db\nadmin_users = guest")
    client = world.client("pgbouncer", "guest")
    world.server().say(row())
    assert client.state() == "idle"


def test_a_disabled_database(world_of: WorldOf) -> None:
    """Is not asked."""
    world = world_of(settings=ASKING)
    world.service.operations.disable("db")
    client = world.client(user="guest")
    assert client.fault == 'authentication database "db" is disabled'


# Waiting.


def test_what_a_client_says_meanwhile(world_of: WorldOf) -> None:
    """Waits its turn: the answer to a question that is still to be asked."""
    world = world_of(settings=ASKING + "auth_type = plain")
    client = world.connect()
    start = encode.startup([("user", "guest"), ("database", "db")])
    client.say(start, message(b"p", b"secret\0"))
    world.server().say(row())
    world.server()
    assert client.state() == "idle"


def test_the_client_leaves(world_of: WorldOf) -> None:
    """Before a server is there, or while it thinks; the server serves others."""
    world = world_of(settings=ASKING)
    world.client(user="guest").drop()
    server = world.server()
    assert kinds(server.hear()) == ""
    leaving = world.client(user="guest")
    assert kinds(server.hear()) == BATCH
    leaving.drop()
    server.say(row())
    assert server.state() == "idle"
    staying = world.client(user="guest")
    server.say(row())
    world.server()
    assert staying.state() == "idle"


def test_a_busy_server_asks_next(world_of: WorldOf) -> None:
    """A server at another's query is asked when that has ended, before new queries."""
    world = world_of(settings=ASKING + "default_pool_size = 1")
    (world.folder / "users.txt").write_text('"asker" ""\n')
    world.reload(settings=ASKING + "default_pool_size = 1")
    busy = world.client(user="asker")
    server = world.server()
    busy.say(query())
    waiting = world.client(user="asker")
    waiting.say(query())
    guest = world.client(user="guest")
    server.hear()
    server.answer()
    assert kinds(server.hear()) == BATCH
    server.say(row())
    assert kinds(server.hear()) == "Q"
    world.server()
    assert guest.state() == "idle"


@pytest.mark.parametrize(
    "settings", ["query_wait_timeout = 5", "client_login_timeout = 5"]
)
def test_no_client_waits_for_ever(world_of: WorldOf, settings: str) -> None:
    """For a server that does not come."""
    world = world_of(settings=ASKING + settings)
    client = world.client(user="guest")
    world.wait(6)
    assert client.fault == settings.split(" ", maxsplit=1)[0]


def test_the_server_is_lost(world_of: WorldOf) -> None:
    """While it thinks."""
    _world, client, server = asked(world_of)
    server.drop()
    assert client.fault == "bouncer config error"


def test_the_pool_cannot_log_in(world_of: WorldOf) -> None:
    """Its server's own words; then, for a while, that it has been failing."""
    world = world_of(settings=ASKING)
    client = world.client(user="guest")
    world.accept().refuse('role "asker" does not exist', "28000")
    assert client.fault == 'role "asker" does not exist'
    assert "has been failing" in world.client(user="guest").fault


def test_shutting_down(world_of: WorldOf) -> None:
    """Who waits is sent away."""
    world = world_of(settings=ASKING)
    client = world.client(user="guest")
    world.service.shutdown_wait_for_servers()
    assert client.fault == "server shutting down"
    assert world.client(user="guest").fault == "server shutting down"


def test_counted_as_waiting(world_of: WorldOf) -> None:
    """In the pool of auth_user."""
    world = world_of(settings=ASKING)
    world.client(user="guest")
    shown = next(
        pool for pool in named_rows("pools", world.service.view) if pool.user == "asker"
    )
    assert shown.cl_waiting == 1


# Believing.


def test_asked_each_time(world_of: WorldOf) -> None:
    """By default."""
    world, _client, server = asked(world_of)
    server.say(row())
    world.server()
    server.hear()
    world.client(user="guest")
    assert kinds(server.hear()) == BATCH


def test_believed_for_a_while(world_of: WorldOf) -> None:
    """As long as auth_query_cache_ttl says, for this user alone."""
    world, _client, server = asked(world_of, "auth_query_cache_ttl = 10")
    server.say(row())
    world.server()
    server.hear()
    assert world.client(user="guest").state() == "idle"
    assert kinds(server.hear()) == ""
    world.client(user="stranger")
    assert kinds(server.hear()) == BATCH
    server.say(NO_ROW)
    world.wait(11)
    server.hear()
    world.client(user="guest")
    assert kinds(server.hear()) == BATCH


def test_a_reload_ends_belief(world_of: WorldOf) -> None:
    """A user removed at the server is refused as soon as the operator reloads."""
    world, _client, server = asked(world_of, "auth_query_cache_ttl = 10")
    server.say(row())
    world.server()
    server.hear()
    world.service.reload()
    world.client(user="guest")
    assert kinds(server.hear()) == BATCH


def test_a_failed_proof_is_not_believed_twice(world_of: WorldOf) -> None:
    """The password may have changed: the next login runs auth_query again."""
    world, client, server = asked(
        world_of, "auth_query_cache_ttl = 10\nauth_type = plain"
    )
    server.say(row())
    client.say(message(b"p", b"changed\0"))
    assert client.fault == "password authentication failed"
    server.hear()
    world.client(user="guest")
    assert kinds(server.hear()) == BATCH
