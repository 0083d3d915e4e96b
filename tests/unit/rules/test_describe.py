"""Words for whatever the users' functions raise and return."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from pgswitch.rules.describe import (
    MAX_TEXT_LENGTH,
    UNTOLD,
    code_of,
    is_of_a_signal,
    kind_of,
    plain,
    told,
    words_of,
)


class Hostile(Exception):
    """Has no words for itself."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error

    __repr__ = __str__


class Text(str):
    """A text that is not what it seems."""

    __slots__ = ()

    def __str__(self) -> str:
        raise SystemExit

    def __getitem__(self, _at: object) -> str:
        raise SystemExit

    __len__ = __eq__ = __contains__ = __hash__ = __bool__ = __str__  # type: ignore[assignment]


class TextError(Exception):
    """Its words are such a text."""

    def __str__(self) -> str:
        return Text("words")

    __repr__ = __str__


@pytest.fixture
def _serving() -> Iterator[None]:
    """Have SIGINT handled as the service has it."""
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_serving")
@pytest.mark.parametrize(
    "error", [ValueError(), SystemExit(), GeneratorExit(), KeyboardInterrupt()]
)
def test_exceptions_without_words(error: BaseException) -> None:
    """Whatever is raised instead."""
    assert words_of(Hostile(error)) == code_of(Hostile(error)) == UNTOLD
    assert told(Hostile(error)) == f"Hostile: {UNTOLD}"
    assert not is_of_a_signal(error)


def test_an_interrupt_of_a_command() -> None:
    """It may be a Ctrl-C while Python's own handler is there."""
    signal.default_int_handler  # noqa: B018 - which pytest leaves in place
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    for tell in (words_of, code_of):
        with pytest.raises(KeyboardInterrupt):
            tell(Hostile(KeyboardInterrupt()))
    assert words_of(Hostile(SystemExit())) == UNTOLD


def test_words() -> None:
    """With the type before them, and cut."""
    assert told(ValueError("no")) == "ValueError: no"
    assert told(ValueError()) == "ValueError"
    assert code_of(ValueError("no")) == "ValueError('no')"
    assert told(TextError()) == "TextError: words"
    assert len(told(ValueError("x" * 1_000_000))) == MAX_TEXT_LENGTH
    assert len(code_of(ValueError("x" * 1_000_000))) == MAX_TEXT_LENGTH


def test_plain_texts() -> None:
    """Classes derived from str have no say."""
    text = "x"
    assert plain(text) is text
    assert type(plain(Text("x"))) is str
    assert plain(Text("x")) == "x"
    assert kind_of(Text("x")) == "Text"
