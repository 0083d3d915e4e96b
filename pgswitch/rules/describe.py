"""What the users' functions raise and return: told in words, whatever it is.

It is their code that makes the words, and that may fail too, or never end in a text.
"""

from __future__ import annotations

import signal
from typing import Final

MAX_TEXT_LENGTH: Final = 300
"""Characters of a failure that are logged and shown."""
UNPRINTABLE: Final = "a text that cannot be told"


def is_ctrl_c(error: BaseException) -> bool:
    """Tell whether an exception may be a Ctrl-C, which must end what goes on.

    That is so only while SIGINT has Python's own handler, as in a command; the service
    has one that raises nothing, and then it is the user's code that did.
    """
    return (
        isinstance(error, KeyboardInterrupt)
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )


def message_of(error: object) -> str:
    """Return the text of an exception or of anything else, the beginning of it."""
    try:
        return plain_str(str(error))[:MAX_TEXT_LENGTH]
    except BaseException as failure:
        if is_ctrl_c(failure):
            raise
        return UNPRINTABLE


def repr_of(error: object) -> str:
    """Return what repr() makes of an exception, the beginning of it."""
    try:
        return plain_str(repr(error))[:MAX_TEXT_LENGTH]
    except BaseException as failure:
        if is_ctrl_c(failure):
            raise
        return UNPRINTABLE


def type_name_of(value: object) -> str:
    """Return the name of the type of a value."""
    try:
        return plain_str(type.__getattribute__(type(value), "__name__"))[
            :MAX_TEXT_LENGTH
        ]
    except BaseException as failure:
        if is_ctrl_c(failure):
            raise
        return "object"


def describe_error(error: BaseException) -> str:
    """Return the type of an exception and its text, if it has one."""
    kind, words = type_name_of(error), message_of(error)
    return f"{kind}: {words}"[:MAX_TEXT_LENGTH] if words else kind


def plain_str(text: str) -> str:
    """Return a text without whatever a class derived from str makes of it."""
    return text if type(text) is str else str.__str__(text)
