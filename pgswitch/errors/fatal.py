"""The one exception that ends the process with a FATAL line and exit status 1."""

from __future__ import annotations

from typing import NoReturn


class FatalError(Exception):
    """The service cannot start or continue; ``text`` is the whole FATAL log message.

    Start-up steps raise it (pid file, user switch, listening). Only the code that runs
    the process catches it: it logs ``text`` and exits with status 1.
    """

    def __init__(self, text: str) -> None:
        """Keep the log message.

        :param text: the log line, without the word FATAL.
        """
        super().__init__(text)
        self.text = text


def fatal(text: str) -> NoReturn:
    """Raise :class:`FatalError` with this log message."""
    raise FatalError(text)
