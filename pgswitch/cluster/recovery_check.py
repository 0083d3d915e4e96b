"""The question of ``recovery_query``: put in the place of pg_is_in_recovery().

The first column of its first row says what the node is: true is a standby.  The other
parts of our questions go on using the server's own functions.
"""

from __future__ import annotations

SERVERS_OWN = "pg_is_in_recovery()"
YES = ("t", "true", "on", "yes", "y", "1")
NO = ("f", "false", "off", "no", "n", "0")
"""What a column of any type may say, as text in small letters."""


class BadAnswer(ValueError):
    """The answer says neither yes nor no; the text says what it is."""


def is_standby(value: object) -> bool:
    """Return what the first column says, as a driver or the server tells it.

    Raises BadAnswer.
    """
    if value is None:
        raise BadAnswer("recovery_query returned no row, or NULL")
    text = str(value).lower()
    if text in YES:
        return True
    if text not in NO:
        raise BadAnswer(f"recovery_query returned {str(value)[:40]!r}, not a boolean")
    return False


def in_place_of(question: str, recovery: str) -> str:
    """Return one of our questions, which begins by asking for the server's own word.

    Without ``recovery`` it is as it was.
    """
    if not recovery:
        return question
    own = f"SELECT {SERVERS_OWN}"
    rest = question.removeprefix(own)
    return f"SELECT {_column(recovery)}{rest}" if rest else _trimmed(recovery)


def waits_while(recovery: str) -> str:
    """Return the condition on which a node lets a question wait.

    ``turn`` of the question is in it, so that it is evaluated each time.
    """
    if not recovery:
        return SERVERS_OWN
    words = ", ".join(f"'{word}'" for word in YES)
    return f"lower({_column(recovery, ' WHERE turn > 0')}) IN ({words})"


def _column(recovery: str, condition: str = "") -> str:
    """Return the first column of the first row, as text; NULL without a row."""
    return (
        f"(SELECT asked.standby::text FROM (\n{_trimmed(recovery)}\n)"  # noqa: S608 - the operator's
        f" AS asked(standby){condition} LIMIT 1)"
    )


def _trimmed(recovery: str) -> str:
    return recovery.strip().rstrip("; \t\r\n")
