"""What a statement gives, apart from how it is asked and told."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from pgswitch.admin import columns
from pgswitch.admin.grammar import parse
from pgswitch.admin.statements import ConsoleStatements, StatementResult
from pgswitch.errors import AdminAccessNeeded, InvalidCommand
from tests.unit.admin.fakes import FakeControl, FakeLog, FakeView


def statements(*, is_admin: bool = True) -> ConsoleStatements:
    """Return those of a console on fakes."""
    return ConsoleStatements(
        FakeView(), FakeControl(), is_admin=is_admin, log=FakeLog()
    )


def run(text: str, *, is_admin: bool = True) -> StatementResult:
    """Carry out a statement that is done at once."""
    outcome = statements(is_admin=is_admin).run(parse(text), text)
    assert isinstance(outcome, StatementResult)
    return outcome


@pytest.mark.parametrize(
    "text", ["SHOW POOLS", "SHOW HELP", "RELOAD", "SET x=1", "", "SHOW timezone"]
)
def test_columns_are_known_before(text: str) -> None:
    """What is announced is what comes."""
    told = statements().columns(parse(text), text)
    assert told == (None if text == "SET x=1" else run(text).columns)


def test_columns_of_routes() -> None:
    """Announced without calling the user's functions."""
    text = "EXPLAIN ROUTE 'SELECT 1'"
    assert statements().columns(parse(text), text) == columns.ROUTE


@pytest.mark.parametrize("text", ["SHOW nosuch", "NOSUCH", "SHOW POOLS TIMEOUT 5"])
def test_what_there_is_not(text: str) -> None:
    """Refused when it is announced, and when it is carried out."""
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
    """It holds what logins have taught us."""
    with pytest.raises(AdminAccessNeeded):
        run("SHOW HANDOVER")
    owner = ConsoleStatements(
        FakeView(), FakeControl(), is_admin=True, is_owner=True, log=FakeLog()
    )
    outcome = owner.run(parse("SHOW HANDOVER"), "SHOW HANDOVER")
    assert isinstance(outcome, StatementResult)
    assert outcome.attaches


def test_ends_and_waits() -> None:
    """SHUTDOWN has no answer, PAUSE has one later."""
    assert run("SHUTDOWN").is_end
    assert not run("SHUTDOWN WAIT_FOR_CLIENTS").is_end
    assert isinstance(statements().run(parse("PAUSE"), "PAUSE"), Deferred)
