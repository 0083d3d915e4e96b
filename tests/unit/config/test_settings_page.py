"""The reference page of settings."""

from __future__ import annotations

from pathlib import Path

import pgswitch
from pgswitch.config.model import DATABASE_KEYS, PEER_KEYS, SETTINGS, USER_KEYS
from pgswitch.reference import settings_page

ROOT = Path(pgswitch.__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "settings.md"


def test_not_stale() -> None:
    """The page in the repository is the one that the tables give."""
    assert PAGE.read_text(encoding="utf-8") == settings_page(), "run: make reference"


def test_complete() -> None:
    """Every setting and key has its row."""
    rows = [
        line.split("|")[1].strip()
        for line in settings_page().split("\n")
        if "|" in line
    ]
    named = [row.strip("`") for row in rows if row.startswith("`")]
    assert named == [*SETTINGS, *DATABASE_KEYS, *USER_KEYS, *PEER_KEYS]


def test_cells() -> None:
    """No text of the tables breaks a row of the page."""
    rows = [line for line in settings_page().split("\n") if line.startswith("| `")]
    assert {row.count(" | ") for row in rows} == {3, 4}
