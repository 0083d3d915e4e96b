"""How programs that start servers end."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import psycopg
import pytest

from pgswitch.demo.child import ChildFailed
from pgswitch.demo.program import INTERRUPTED, SIGNALS, end_undisturbed, run


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Leave the process's signals as they were."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_code_of_the_work() -> None:
    """Whatever it returns."""
    assert run("x", lambda: 7) == 7


@pytest.mark.parametrize(
    "error", [ChildFailed("words"), OSError("words"), psycopg.Error("words")]
)
def test_what_failed(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told, under the program's name."""

    def fail() -> int:
        raise error

    assert run("x", fail) == 1
    assert capsys.readouterr().err == "\nx: words\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_interrupted(number: signal.Signals) -> None:
    """Each of the signals ends it in order."""

    def wait() -> int:
        signal.raise_signal(number)
        return 7

    assert run("x", wait) == INTERRUPTED
    assert run("x", wait, interrupted=0) == 0


def test_the_end_is_not_disturbed() -> None:
    """Signals do nothing any more."""
    end_undisturbed()
    for number in SIGNALS:
        signal.raise_signal(number)
