"""Describes exceptions and values of the user's functions, whatever they are.

Their own code makes the texts (``__str__``, ``__repr__``), and it may fail as well.
"""

from __future__ import annotations

import signal
from typing import Final

MAX_TEXT_LENGTH: Final = 300
"""Maximum characters of an error that are logged and shown."""
UNPRINTABLE: Final = "unprintable text"


def is_ctrl_c(error: BaseException) -> bool:
    """Return whether an exception may be a Ctrl-C, which must end the command.

    That can be only while SIGINT has Python's own handler, as in a command.  The
    service's handler raises nothing, so there the user's code has raised it.
    """
    return (
        isinstance(error, KeyboardInterrupt)
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )


def message_of(error: object) -> str:
    """Return str() of an exception or another object, cut to MAX_TEXT_LENGTH."""
    try:
        return plain_str(str(error))[:MAX_TEXT_LENGTH]
    except BaseException as failure:
        if is_ctrl_c(failure):
            raise
        return UNPRINTABLE


def repr_of(error: object) -> str:
    """Return repr() of an exception, cut to MAX_TEXT_LENGTH."""
    try:
        return plain_str(repr(error))[:MAX_TEXT_LENGTH]
    except BaseException as failure:
        if is_ctrl_c(failure):
            raise
        return UNPRINTABLE


def type_name_of(value: object) -> str:
    """Return the name of a value's type."""
    try:
        return plain_str(type.__getattribute__(type(value), "__name__"))[
            :MAX_TEXT_LENGTH
        ]
    except BaseException as failure:
        if is_ctrl_c(failure):
            raise
        return "object"


def describe_error(error: BaseException) -> str:
    """Return an exception's type and its text, if it has one."""
    kind, words = type_name_of(error), message_of(error)
    return f"{kind}: {words}"[:MAX_TEXT_LENGTH] if words else kind


def plain_str(text: str) -> str:
    """Return a plain str for an instance of a subclass of str."""
    return text if type(text) is str else str.__str__(text)
