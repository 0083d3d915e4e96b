"""The command ``pgswitch rules``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pgswitch.cli import main
from tests.unit.rules.files import write

RULES = """
def routing_rules(username, query, in_transaction):
    return username if in_transaction else None

def rewrite_query(username, query, in_transaction):
    if "bad" in query:
        return 7
    return query.replace("old", "new")
"""


def test_queries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with what would be sent, where to, and how long that took."""
    path = write(tmp_path, "r.py", RULES)
    assert main(["rules", path, "SELECT old", "SELECT 1"]) == 0
    said = re.sub(r"\d+ us", "N us", capsys.readouterr().out)
    assert said == (
        "query:    SELECT old\nsent:     SELECT new\ndatabase: stays\n"
        "took:     N us\n\n"
        "query:    SELECT 1\nsent:     unchanged\ndatabase: stays\n"
        "took:     N us\n\n"
    )


def test_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who asks, whether inside a transaction, and logged in to which database."""
    path = write(tmp_path, "r.py", RULES)
    assert main(["rules", path, "--user", "ann", "--in-transaction", "SELECT 1"]) == 0
    assert "database: ann\n" in capsys.readouterr().out
    text = "def routing_rules(u, q, t, context): return context.database + ':reader'"
    path = write(tmp_path, "by_context.py", text)
    for more, expected in (([], "postgres"), (["--database", "dev"], "dev")):
        assert main(["rules", path, *more, "SELECT 1"]) == 0
        assert f"database: {expected}:reader\n" in capsys.readouterr().out


def test_failures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are said, and the status is 1."""
    path = write(tmp_path, "r.py", RULES)
    assert main(["rules", path, "bad"]) == 1
    assert "error:    rewrite_query failed: returned int" in capsys.readouterr().out
    assert main(["rules", str(tmp_path / "none.py"), "SELECT 1"]) == 1
    assert "could not read" in capsys.readouterr().err


def test_a_configuration_file_of_this_name(capfd: pytest.CaptureFixture[str]) -> None:
    """The word alone is a file, as it always was."""
    assert main(["rules"]) == 1
    assert 'could not load file "rules"' in capfd.readouterr().err
