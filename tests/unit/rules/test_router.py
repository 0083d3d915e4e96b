"""Rules applied to clients: moves, refusals, failures."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgswitch.admin.statements import named_rows
from pgswitch.errors import RewriteFailed
from pgswitch.rules.router import _ENDS_TRANSACTION
from tests.fakes.messages import ANSWER, error, error_text, kinds, message, query
from tests.fakes.world import World, WorldOf
from tests.unit.rules.worlds import ROUTING, world_with

IN_TRANSACTION = ANSWER[:-1] + b"T"


def hosts(world: World) -> list[str | None]:
    """Return where we try to connect to."""
    return [attempt.host for attempt in world.attempts]


def test_a_move(world_of: WorldOf, tmp_path: Path) -> None:
    """The query goes where the rule says, later ones too until it says otherwise."""
    world = world_with(world_of, tmp_path, ROUTING)
    client, old = world.pair()
    client.say(query("SELECT 1 --new"))
    assert hosts(world) == ["10.0.0.2"]
    new = world.server()
    assert new.answer() == query("SELECT 1 --new")
    client.say(query("SELECT 2"))
    assert new.answer() == query("SELECT 2")
    client.say(query("SELECT 3 --new:reader"))
    assert new.answer() == query("SELECT 3 --new:reader")
    client.say(query("SELECT 4 --db"))
    assert old.answer() == query("SELECT 4 --db")
    assert client.frontend.database == "db"
    (row,) = named_rows("rules", world.service.view)
    assert (row.calls, row.moves, row.database) == (4, 2, "*")


def test_a_forced_user(world_of: WorldOf, tmp_path: Path) -> None:
    """The target's own user is what servers log in as."""
    world = world_with(world_of, tmp_path, ROUTING)
    client, _ = world.pair()
    client.say(query("SELECT 1 --forced"))
    assert b"user\0other\0" in world.accept().hear()
    assert client.frontend.pool.key == ("forced", "other")


def test_refusals(world_of: WorldOf, tmp_path: Path) -> None:
    """Inside a transaction: an error that names both, and the transaction fails."""
    world = world_with(world_of, tmp_path, ROUTING)
    client, server = world.pair()
    client.say(query("BEGIN"))
    server.hear()
    server.say(IN_TRANSACTION)
    client.hear()
    client.say(query("SELECT 1 --new"))
    asked = server.hear()
    assert b"--new" not in asked
    assert b"move to new refused" in asked
    server.say(error("invalid input") + b"Z\0\0\0\5E")
    heard = client.hear()
    assert error_text(heard) == (
        'routing_rules asked for database "new" inside a transaction or pipeline that'
        ' runs on "db"'
    )
    assert heard.endswith(b"Z\0\0\0\5E")
    client.say(query("SELECT 2 --new"))
    assert server.hear() == query("SELECT 2 --new"), "the server refuses it anyway"
    assert named_rows("rules", world.service.view)[0].refused == 1


def test_a_pipeline_that_ends_a_failed_transaction(
    world_of: WorldOf, tmp_path: Path
) -> None:
    """What follows in it is not known to fail, so it may not run just anywhere."""
    world = world_with(world_of, tmp_path, ROUTING)
    client, server = world.pair()
    client.say(query("BEGIN"))
    server.hear()
    server.say(ANSWER[:-1] + b"E")
    client.hear()
    execute = message(b"B", bytes(8)) + message(b"E", bytes(5))
    for text in ("ROLLBACK", "SELECT 1 --new"):
        client.say(message(b"P", b"\0" + text.encode() + b"\0\0\0") + execute)
    asked = server.hear()
    assert b"SELECT 1" not in asked
    assert b"move to new refused" in asked


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_close_ahead(world_of: WorldOf, tmp_path: Path, mode: str) -> None:
    """Drivers send it with what is new; it holds nothing where it is."""
    world = world_with(world_of, tmp_path, ROUTING, more=f"pool_mode = {mode}")
    client, old = world.pair()
    parse = message(b"P", b"s\0SELECT 1 --db\0\0\0")
    client.say(parse + message(b"S"))
    old.hear()
    old.say(message(b"1") + message(b"Z", b"I"))
    new_parse = message(b"P", b"s\0SELECT 2 --new\0\0\0")
    client.say(message(b"C", b"Ss\0") + new_parse + message(b"S"))
    if mode == "session":
        old.answer()  # the reset query
    new = world.server()
    assert kinds(new.hear()) == "PS"
    new.say(message(b"1") + message(b"Z", b"I"))
    assert kinds(client.hear()) == "1Z31Z"


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ("rules_reroute_in_transaction = ignore", "SELECT 1 --new"),
        ("", "COMMIT --new"),
        ("", "/* a /* */ -- b\n rollback to x --new"),
        ("", "End; --new"),
    ],
)
def test_ignored_moves(world_of: WorldOf, tmp_path: Path, more: str, text: str) -> None:
    """By the setting; and a transaction can always be ended."""
    world = world_with(world_of, tmp_path, ROUTING, more=more)
    client, server = world.pair()
    client.say(query("BEGIN"))
    server.hear()
    server.say(IN_TRANSACTION)
    client.say(query(text))
    assert server.hear() == query(text)


def test_prepared_statements(world_of: WorldOf, tmp_path: Path) -> None:
    """A Bind goes where the Parse went; COMMIT belongs to no server."""
    world = world_with(world_of, tmp_path, ROUTING)
    client, old = world.pair()
    sync = message(b"S")
    for name, text in ((b"a", b"SELECT 1 --new"), (b"b", b"COMMIT --new")):
        client.say(message(b"P", name + b"\0" + text + b"\0\0\0") + sync)
        if world.attempts:
            new = world.server()
        new.hear()
        new.say(message(b"1") + message(b"Z", b"I"))
    client.say(query("SELECT 2 --db"))
    old.answer()
    client.say(message(b"B", b"\0b\0" + bytes(6)) + sync)
    assert b"COMMIT" in old.hear()
    old.say(message(b"1") + message(b"2") + message(b"Z", b"I"))
    client.say(message(b"B", b"\0a\0" + bytes(6)) + sync)
    assert kinds(new.hear()) == "BS"


def test_rewriting(world_of: WorldOf, tmp_path: Path) -> None:
    """The new text is sent; with the tag of the seed if that is wanted."""
    rewriting = "def rewrite_query(u, q): return q.replace('old', 'new')"
    world = world_with(world_of, tmp_path, "", rewriting, "rewrite_query_tag = true")
    client, server = world.pair()
    client.say(query("SELECT old"))
    asked = server.answer()
    assert asked.startswith(query("SELECT new")[:1])
    assert b"SELECT new/*rewritten_pid='" in asked
    client.say(query("SELECT old /*a=1*/"))
    assert b"SELECT new /*a=1,rewritten_pid='" in server.answer()
    assert named_rows("rules", world.service.view)[0].rewrites == 2
    client.say(query("SELECT 1"))
    assert server.answer() == query("SELECT 1")


def test_what_is_logged(world_of: WorldOf, tmp_path: Path) -> None:
    """With -v: both texts, and from where to where; of long ones the beginning."""
    rewriting = "def rewrite_query(u, q): return q.replace('old', 'new')"
    world = world_with(world_of, tmp_path, ROUTING, rewriting)
    client, server = world.pair()
    client.say(query("SELECT 'old 1'"))
    assert server.answer()
    assert not world.logged("rewrote")
    world.context.log.verbosity = 1
    client.say(query("SELECT 'old 2'"))
    assert server.answer()
    assert world.logged("""rewrote: "SELECT 'old 2'" as "SELECT 'new 2'\"""")
    client.say(query("SELECT '" + "x" * 5000 + "' --new"))
    assert world.logged("goes from")
    assert world.logged('xxx" and 4615 bytes more')


def test_the_clients_encoding(world_of: WorldOf, tmp_path: Path) -> None:
    """It follows what servers report."""
    rewriting = "def rewrite_query(u, q): return q.replace('é', 'è')"
    world = world_with(world_of, tmp_path, "", rewriting)
    client, server = world.pair()
    client.say(query("SELECT 'é'"))
    assert server.answer() == query("SELECT 'è'")
    client.say(query("SET client_encoding TO latin1"))
    server.say(message(b"S", b"client_encoding\0LATIN1\0") + ANSWER)
    server.hear()
    client.say(message(b"Q", b"SELECT '\xe9'\0"))
    assert server.answer() == message(b"Q", b"SELECT '\xe8'\0")


def test_failures(world_of: WorldOf, tmp_path: Path) -> None:
    """The original goes on, and the log says why."""
    world = world_with(world_of, tmp_path, "", "def rewrite_query(u, q): return 1 / 0")
    client, server = world.pair()
    client.say(query())
    assert server.answer() == query()
    assert world.logged("rewrite_query failed: ZeroDivisionError")


def test_failures_that_disconnect(world_of: WorldOf, tmp_path: Path) -> None:
    """The client gets an error; nothing of the query reaches a server."""
    world = world_with(
        world_of,
        tmp_path,
        "",
        "def rewrite_query(u, q): return 1 / 0",
        "rewrite_query_disconnect_on_failure = true",
    )
    client, server = world.pair()
    client.say(query() + query())
    assert client.fault == RewriteFailed().text
    assert client.is_gone()
    assert server.hear() == b""


def test_the_context(world_of: WorldOf, tmp_path: Path) -> None:
    """A rule with a context argument gets the origin of the query."""
    rewriting = (
        "def rewrite_query(u, q, t, context):\n"
        "    return '|'.join([context.database, context.address,"
        " context.application_name, context.statement, context.protocol])"
    )
    world = world_with(world_of, tmp_path, "", rewriting)
    client, server = world.pair(application_name="psql")
    client.say(message(b"P", b"s1\0SELECT 1\0\0\0") + message(b"S"))
    assert b"SET application_name='psql'" in server.hear()
    server.say(message(b"S", b"application_name\0psql\0") + ANSWER)
    assert b"db|192.0.2.1:40000|psql|s1|extended" in server.hear()


def test_kept_answers(world_of: WorldOf, tmp_path: Path) -> None:
    """A cacheable module is asked once for each text; moves happen all the same."""
    world = world_with(world_of, tmp_path, "cacheable = True\n" + ROUTING)
    client, old = world.pair()
    for _ in range(3):
        client.say(query("SELECT 1 --new"))
        if world.attempts:
            new = world.server()
        assert new.answer()
        client.say(query("SELECT 1 --db"))
        assert old.answer()
    (row,) = named_rows("rules", world.service.view)
    assert (row.calls, row.kept, row.moves) == (2, 4, 6)


def test_slow_functions(
    world_of: WorldOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log says which, and how long the event loop was blocked."""
    world = world_with(world_of, tmp_path, "", "def rewrite_query(u, q): pass")
    client, server = world.pair()
    registry = world.service.rules.registry
    assert registry is not None
    times = iter([1.0, 1.5])
    monkeypatch.setattr(
        next(iter(registry.rules.values())), "clock", lambda: next(times)
    )
    client.say(query())
    assert server.answer() == query()
    assert world.logged("rewrite_query blocked the event loop for 500 ms")


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("commit", True),
        (" \n-- x\n/* y */ ROLLBACK", True),
        ("prepare transaction 'x'", True),
        ("select 'commit'", False),
        ("/**/" * 5000, False),
        ("commitment", False),
        ("--commit", False),
    ],
)
def test_ends_of_transactions(text: str, *, ends: bool) -> None:
    """Found after comments, and found quickly."""
    assert bool(_ENDS_TRANSACTION.match(text)) is ends
