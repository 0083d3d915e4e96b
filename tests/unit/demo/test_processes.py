"""How programs that start servers end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from pgswitch.demo.processes import INTERRUPTED, SIGNALS, ChildFailed, run


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Leave the process's signals as they were."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_code_of_the_work() -> None:
    """It is the exit code."""
    assert run("x", lambda _cleanup: 7) == 7


@pytest.mark.parametrize(
    "error", [ChildFailed("words"), OSError("words"), psycopg.Error("words")]
)
def test_what_failed(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """It is printed after the program's name."""

    def fail(_cleanup: ExitStack) -> int:
        raise error

    assert run("x", fail) == 1
    assert capsys.readouterr().err == "\nx: words\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_interrupted(number: signal.Signals) -> None:
    """Each of the signals ends it in order."""

    def wait(_cleanup: ExitStack) -> int:
        signal.raise_signal(number)
        return 7

    assert run("x", wait) == INTERRUPTED
    assert run("x", wait, interrupted=0) == 0


def test_a_mistake_of_ours() -> None:
    """It is shown with its traceback, unless it is named among the failures."""

    def fail(_cleanup: ExitStack) -> int:
        raise KeyError("x")

    with pytest.raises(KeyError):
        run("x", fail)
    assert run("x", fail, failures=(KeyError,)) == 1


def test_the_end_is_not_disturbed() -> None:
    """Signals have no effect during the cleanup."""
    done: list[int] = []

    def work(cleanup: ExitStack) -> int:
        for number in SIGNALS:
            cleanup.callback(done.append, int(number))
            cleanup.callback(signal.raise_signal, number)
        return 7

    assert run("x", work) == 7
    assert sorted(done) == sorted(SIGNALS)
