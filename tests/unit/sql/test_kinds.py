"""The words by which kinds are known."""

from __future__ import annotations

from pgswitch.sql.classifier import BY_FIRST_WORD, CHANGING, RUNNING, WRITING, Kind


def test_words_are_as_they_are_looked_up() -> None:
    """In lower case; and no word that makes a write begins a read."""
    for word in [*BY_FIRST_WORD, *CHANGING, *RUNNING, *WRITING]:
        assert word == word.lower()
    for word in WRITING | RUNNING:
        assert BY_FIRST_WORD.get(word) is not Kind.READ


def test_kinds_print_as_words() -> None:
    """For logs and metrics."""
    assert f"{Kind.READ} {Kind.DDL}" == "read ddl"
