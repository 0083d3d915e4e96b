"""The outcome of statements, apart from the protocol."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from pgswitch.admin.commands import VERBS
from pgswitch.admin.grammar import parse
from pgswitch.admin.show.rules import explain_route
from pgswitch.admin.statements import SHOWS, USAGE, ConsoleStatements, StatementResult
from pgswitch.errors import AdminAccessNeeded, InvalidCommand
from tests.unit.admin.fakes import FakeControl, FakeLog, fake_view


def statements(*, is_admin: bool = True) -> ConsoleStatements:
    """Return the statements of a console on fakes."""
    return ConsoleStatements(
        fake_view(), FakeControl(), is_admin=is_admin, log=FakeLog()
    )


def run(text: str, *, is_admin: bool = True) -> StatementResult:
    """Run a statement that does not wait."""
    outcome = statements(is_admin=is_admin).run(parse(text), text)
    assert isinstance(outcome, StatementResult)
    return outcome


@pytest.mark.parametrize(
    "text", ["SHOW POOLS", "SHOW HELP", "RELOAD", "SET x=1", "", "SHOW timezone"]
)
def test_columns_are_known_before(text: str) -> None:
    """The announced columns are those of the result."""
    columns = statements().columns(parse(text), text)
    assert columns == (None if text == "SET x=1" else run(text).columns)


def test_columns_of_routes() -> None:
    """Known without calling the user's functions."""
    text = "EXPLAIN ROUTE 'SELECT 1'"
    assert statements().columns(parse(text), text) == explain_route().columns


@pytest.mark.parametrize("text", ["SHOW nosuch", "NOSUCH", "SHOW POOLS TIMEOUT 5"])
def test_unknown_statements(text: str) -> None:
    """An unknown statement fails in both steps."""
    with pytest.raises(InvalidCommand):
        statements().columns(parse(text), text)
    with pytest.raises(InvalidCommand):
        run(text)


def test_descriptors_are_for_admins() -> None:
    """The only SHOW that is not for all."""
    assert run("SHOW FDS").tag == "SHOW"
    with pytest.raises(AdminAccessNeeded):
        run("SHOW FDS", is_admin=False)


def test_a_handover_is_for_the_owner() -> None:
    """SHOW HANDOVER holds secrets."""
    with pytest.raises(AdminAccessNeeded):
        run("SHOW HANDOVER")
    owner = ConsoleStatements(
        fake_view(), FakeControl(), is_admin=True, is_owner=True, log=FakeLog()
    )
    outcome = owner.run(parse("SHOW HANDOVER"), "SHOW HANDOVER")
    assert isinstance(outcome, StatementResult)
    assert outcome.attaches


def test_ends_and_waits() -> None:
    """SHUTDOWN gives no answer, PAUSE gives one later."""
    assert run("SHUTDOWN").is_end
    assert not run("SHUTDOWN WAIT_FOR_CLIENTS").is_end
    assert isinstance(statements().run(parse("PAUSE"), "PAUSE"), Deferred)


def test_everything_is_named() -> None:
    """SHOW HELP names each SHOW and each command."""
    words = set(USAGE.replace("|", " ").split())
    assert {name.upper() for name in (*SHOWS, *VERBS)} <= words
