"""The one exception that ends the process with a FATAL line and exit status 1."""

from __future__ import annotations


class FatalError(Exception):
    """The service cannot start or go on; ``text`` is the whole FATAL log message.

    Raised by start-up steps (pid file, user switch, listening). Only the code that
    runs the process catches it: it logs ``text`` and leaves with exit status 1.
    """

    def __init__(self, text: str) -> None:
        """Keep the log message.

        :param text: what the operator reads after the word FATAL.
        """
        super().__init__(text)
        self.text = text
