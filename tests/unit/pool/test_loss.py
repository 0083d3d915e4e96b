"""What becomes of a client whose server went: every case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgswitch.pool.loss import LossFacts, LossOutcome, decide_loss
from pgswitch.wire import encode

TEXTS = {b"w": b"UPDATE t SET a = 1", b"r": b"SELECT a FROM t", b"c": b"COMMIT"}
IDLE = LossFacts(
    is_session=False,
    in_transaction=False,
    outstanding=0,
    copying=False,
    sent=b"",
    is_cut=False,
    gave_shutdown_notice=False,
    answered=False,
)
READ, WRITE = encode.query("SELECT a FROM t WHERE b = 1"), encode.query("DELETE FROM t")
TWO_WRITES = encode.query("DELETE FROM t; DELETE FROM u")
COMMIT = encode.query("commit")
NAMED_READ = encode.bind("", "r") + encode.execute() + encode.sync()
NAMED_COMMIT = encode.bind("", "c") + encode.execute() + encode.sync()
UNNAMED = (
    encode.parse("", "INSERT INTO t VALUES ($1)")
    + encode.bind("", "", ["1"])
    + encode.execute()
)
ROLLBACK = encode.parse("", "ROLLBACK") + encode.bind("", "") + encode.execute()
BEGUN = encode.query("BEGIN") + encode.query("DELETE FROM t")
A, U = LossOutcome.AGAIN, LossOutcome.UNKNOWN


def text_of(name: bytes) -> bytes:
    """Return the text of a prepared statement."""
    return TEXTS.get(name, b"")


def outcome(**changed: object) -> LossOutcome:
    """Decide on facts that differ from those of an idle client."""
    retry = changed.pop("retry", True)
    decision = decide_loss(replace(IDLE, **changed), text_of)  # type: ignore[arg-type]
    return decision.outcome if retry else decision.otherwise


def test_session_and_idle() -> None:
    """A session's state is gone in any case; an idle client lost nothing."""
    assert outcome(is_session=True) is LossOutcome.SESSION_LOST
    assert outcome(is_session=True, in_transaction=True) is LossOutcome.SESSION_LOST
    assert outcome() is LossOutcome.NOTHING


@pytest.mark.parametrize(
    ("sent", "refused", "silent"),
    [
        (READ, A, A),
        (WRITE, A, U),
        (TWO_WRITES, U, U),
        (READ + WRITE, U, U),
        (READ + READ, A, A),
        (NAMED_READ, A, A),
        (UNNAMED, A, U),
        (encode.query("BEGIN"), A, A),
        (encode.query("COPY t FROM STDIN"), U, U),
        (encode.query("SELECT f()"), A, U),
        (encode.query("CALL p()"), U, U),
        (encode.query("/* by x */ INSERT INTO t VALUES (1)"), A, U),
        (encode.query("/* by x */ call p()"), U, U),
        (encode.query("/* /* */ */ CALL p()"), U, U),
        (encode.query("create index concurrently i on t (a)"), U, U),
        (encode.query("SELECT a INTO b FROM t"), A, U),
        (encode.bind("", "unknown") + encode.execute(), U, U),
        (encode.bind("", "unknown"), A, A),
        (encode.sync(), A, A),
        (BEGUN + COMMIT, U, U),
        (encode.query("BEGIN; DELETE FROM t; COMMIT"), U, U),
        (encode.query("BEGIN; DELETE FROM t; ROLLBACK; DELETE FROM t"), U, U),
        (READ + b"F\0\0\0\4", U, U),
        (b"", U, U),
        (b"?", U, U),
    ],
)
def test_outside_of_a_transaction(
    sent: bytes, refused: LossOutcome, silent: LossOutcome
) -> None:
    """Again, if it was refused and is one statement, or is harmless."""
    assert outcome(outstanding=1, sent=sent, gave_shutdown_notice=True) is refused
    assert outcome(outstanding=1, sent=sent, gave_shutdown_notice=False) is silent
    assert (
        outcome(outstanding=1, sent=sent, gave_shutdown_notice=True, retry=False) is U
    )
    assert (
        outcome(outstanding=1, sent=sent, gave_shutdown_notice=True, copying=True) is U
    )
    assert (
        outcome(outstanding=1, sent=sent, gave_shutdown_notice=True, answered=True) is U
    )


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (WRITE, LossOutcome.ROLLED_BACK),
        (TWO_WRITES, LossOutcome.ROLLED_BACK),
        (COMMIT, U),
        (NAMED_COMMIT, U),
        (encode.query("INSERT INTO t VALUES (1); COMMIT"), U),
        (encode.query("PREPARE  TRANSACTION 'x'"), U),
        (
            encode.query("UPDATE t SET a = CASE WHEN b THEN 1 END"),
            LossOutcome.ROLLED_BACK,
        ),
        (encode.query("/* x */ COMMIT"), U),
        (encode.query("SELECT 1; -- x\nEND"), U),
        (encode.query("/* /* */ x */ COMMIT"), U),
        (encode.query("ROLLBACK; DELETE FROM t"), U),
        (encode.query("ABORT;") + WRITE, U),
        (encode.query("COMMIT AND CHAIN"), U),
        (encode.query("ROLLBACK AND CHAIN; DELETE FROM t"), LossOutcome.ROLLED_BACK),
        (encode.query("ROLLBACK TO a; DELETE FROM t"), LossOutcome.ROLLED_BACK),
        (encode.query("ROLLBACK; SELECT a FROM t"), LossOutcome.ROLLED_BACK),
        (encode.query("ROLLBACK; BEGIN; DELETE FROM t"), LossOutcome.ROLLED_BACK),
        (
            encode.parse("", "ROLLBACK")
            + encode.bind("", "")
            + encode.execute()
            + UNNAMED,
            U,
        ),
        (b"", LossOutcome.UNKNOWN_INSIDE),
        (b"?", LossOutcome.UNKNOWN_INSIDE),
    ],
)
@pytest.mark.parametrize("gave_shutdown_notice", [True, False])
def test_in_a_transaction(
    sent: bytes,
    expected: LossOutcome,
    gave_shutdown_notice: bool,  # noqa: FBT001
) -> None:
    """Lost for certain, unless a COMMIT may have been among it."""
    facts = {
        "in_transaction": True,
        "sent": sent,
        "gave_shutdown_notice": gave_shutdown_notice,
    }
    assert outcome(outstanding=1, **facts) is expected
    assert outcome(**facts) is LossOutcome.ROLLED_BACK


@pytest.mark.parametrize(
    "sent",
    [
        BEGUN,
        encode.query("BEGIN; DELETE FROM t"),
        encode.parse("b", "BEGIN") + encode.bind("", "b") + encode.execute() + UNNAMED,
    ],
)
def test_a_transaction_that_was_just_begun(sent: bytes) -> None:
    """Nothing of it is committed: it is retried, or reported as lost."""
    lost = LossOutcome.ROLLED_BACK
    assert outcome(outstanding=1, sent=sent) is A
    assert outcome(outstanding=1, sent=sent, answered=True) is lost
    assert outcome(outstanding=1, sent=sent, copying=True) is lost
    assert outcome(outstanding=1, sent=sent, retry=False) is lost
    assert outcome(outstanding=1, sent=sent + COMMIT, answered=True) is U


def test_a_pipeline_between_its_messages() -> None:
    """What was done and answered is lost with the Sync that did not come."""
    assert outcome(unsynced=True) is LossOutcome.PIPELINE_LOST
    assert outcome(unsynced=True, in_transaction=True) is LossOutcome.ROLLED_BACK
    asked: dict[str, object] = {"unsynced": True, "answered": True, "outstanding": 1}
    assert outcome(**asked, sent=encode.sync()) is U
    assert outcome(**asked, sent=READ) is U


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT f()", A),
        ("(select f(1)) union (select 2)", A),
        ("/* by x */ WITH a AS (SELECT f()) SELECT * FROM a", A),
        ("EXPLAIN ANALYZE SELECT f()", A),
        ("SELECT f(); SELECT g()", U),
        ("CALL p()", U),
        ("COPY t TO STDOUT", U),
    ],
)
def test_on_a_standby(text: str, expected: LossOutcome) -> None:
    """Nothing can be written there, so any one query can be asked again."""
    sent = encode.query(text)
    assert outcome(outstanding=1, sent=sent, on_standby=True) is expected
    assert outcome(outstanding=1, sent=sent) is U
    answered = outcome(outstanding=1, sent=sent, on_standby=True, answered=True)
    assert answered is U


@pytest.mark.parametrize(
    ("whole", "idle", "inside"),
    [
        (b"", A, LossOutcome.ROLLED_BACK),
        (READ, A, LossOutcome.ROLLED_BACK),
        (WRITE, U, LossOutcome.ROLLED_BACK),
        (COMMIT, U, U),
        (encode.sync(), A, LossOutcome.ROLLED_BACK),
    ],
)
def test_a_message_that_is_cut(
    whole: bytes, idle: LossOutcome, inside: LossOutcome
) -> None:
    """It was never executed; what precedes it counts as usual."""
    facts: dict[str, object] = {
        "outstanding": 2,
        "sent": whole + WRITE[:-3],
        "is_cut": True,
    }
    assert outcome(**facts) is idle
    assert outcome(**facts, in_transaction=True) is inside
    assert outcome(**facts, retry=False) is U


@pytest.mark.parametrize("sent", [b"", b"?"])
def test_nothing_is_known(sent: bytes) -> None:
    """Then nothing is certain, cut or not."""
    for is_cut in (False, True):
        facts: dict[str, object] = {"outstanding": 1, "sent": sent, "is_cut": is_cut}
        assert outcome(**facts) is U
        assert outcome(**facts, in_transaction=True) is LossOutcome.UNKNOWN_INSIDE
