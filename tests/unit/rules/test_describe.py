"""Words for all that the users' functions raise and return."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from pgswitch.rules.describe import (
    MAX_TEXT_LENGTH,
    UNPRINTABLE,
    describe_error,
    is_ctrl_c,
    message_of,
    plain_str,
    repr_of,
    type_name_of,
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
    assert message_of(Hostile(error)) == repr_of(Hostile(error)) == UNPRINTABLE
    assert describe_error(Hostile(error)) == f"Hostile: {UNPRINTABLE}"
    assert not is_ctrl_c(error)


def test_an_interrupt_of_a_command() -> None:
    """It may be a Ctrl-C while Python's own handler is there."""
    signal.default_int_handler  # noqa: B018 - which pytest leaves in place
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    for tell in (message_of, repr_of):
        with pytest.raises(KeyboardInterrupt):
            tell(Hostile(KeyboardInterrupt()))
    assert message_of(Hostile(SystemExit())) == UNPRINTABLE


def test_words() -> None:
    """With the type before them, and cut."""
    assert describe_error(ValueError("no")) == "ValueError: no"
    assert describe_error(ValueError()) == "ValueError"
    assert repr_of(ValueError("no")) == "ValueError('no')"
    assert describe_error(TextError()) == "TextError: words"
    assert len(describe_error(ValueError("x" * 1_000_000))) == MAX_TEXT_LENGTH
    assert len(repr_of(ValueError("x" * 1_000_000))) == MAX_TEXT_LENGTH


def test_plain_texts() -> None:
    """Classes derived from str have no say."""
    text = "x"
    assert plain_str(text) is text
    assert type(plain_str(Text("x"))) is str
    assert plain_str(Text("x")) == "x"
    assert type_name_of(Text("x")) == "Text"
