"""What the users' functions raise and return: told in words, whatever it is.

It is their code that makes the words, and that may fail too, or never end in a text.
"""

from __future__ import annotations

import signal
from typing import Final

MAX_TEXT_LENGTH: Final = 300
"""Characters of a failure that are logged and shown."""
UNTOLD: Final = "a text that cannot be told"


def is_of_a_signal(error: BaseException) -> bool:
    """Tell whether an exception may be a Ctrl-C, which must end what goes on.

    That is so only while SIGINT has Python's own handler, as in a command; the service
    has one that raises nothing, and then it is the user's code that did.
    """
    return (
        isinstance(error, KeyboardInterrupt)
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )


def words_of(error: object) -> str:
    """Return the text of an exception or of anything else, the beginning of it."""
    try:
        return plain(str(error))[:MAX_TEXT_LENGTH]
    except BaseException as failure:
        if is_of_a_signal(failure):
            raise
        return UNTOLD


def code_of(error: object) -> str:
    """Return what repr() makes of an exception, the beginning of it."""
    try:
        return plain(repr(error))[:MAX_TEXT_LENGTH]
    except BaseException as failure:
        if is_of_a_signal(failure):
            raise
        return UNTOLD


def kind_of(value: object) -> str:
    """Return the name of the type of a value."""
    try:
        return plain(type.__getattribute__(type(value), "__name__"))[:MAX_TEXT_LENGTH]
    except BaseException as failure:
        if is_of_a_signal(failure):
            raise
        return "object"


def told(error: BaseException) -> str:
    """Return the type of an exception and its text, if it has one."""
    kind, words = kind_of(error), words_of(error)
    return f"{kind}: {words}"[:MAX_TEXT_LENGTH] if words else kind


def plain(text: str) -> str:
    """Return a text without whatever a class derived from str makes of it."""
    return text if type(text) is str else str.__str__(text)
