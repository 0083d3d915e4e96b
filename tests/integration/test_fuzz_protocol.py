"""The fuzzer of the protocol, for a minute; at length it is ``make fuzz-protocol``."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fuzz.protocol.report import read, written
from tests.fuzz.protocol.run import Found, Limits, Runner
from tests.fuzz.protocol.stage import POOLED, Stage
from tests.fuzz.protocol.variants import NOTHING, VARIANTS

ROOT = Path(__file__).parents[2]
SEED = "1"
"""Kept: what chance alone would find is for ``make fuzz-protocol``, not for a test."""
PARTS = 4
MURMUR = """
    CREATE OR REPLACE FUNCTION murmur(word text) RETURNS text LANGUAGE sql VOLATILE AS
        $$ SELECT 't1-9-1' $$
"""


def fuzz(path: Path, *options: str, timeout_s: float = 120.0) -> None:
    """Run it in a process; what it prints is the text of a failure."""
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fuzz.protocol"),
            *("--report", str(path / "report.txt"), *options),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "nothing found" in finished.stdout


def test_postgres_beside_itself(tmp_path: Path) -> None:
    """What is found without any pooler would be wrong with the fuzzer."""
    fuzz(tmp_path, "--variant", "nothing", "--seconds", "5")


def test_session_pooling(tmp_path: Path) -> None:
    """Each client has a server of its own."""
    fuzz(tmp_path, "--variant", "session", "--seconds", "5")


@pytest.mark.parametrize("part", range(PARTS))
def test_all_variants(tmp_path: Path, part: int) -> None:
    """Every pool mode, with few servers, rules, TLS and trouble; a minute in all."""
    chosen = [f"--variant={one.name}" for one in VARIANTS[part::PARTS]]
    fuzz(tmp_path, *chosen, "--seconds", "15", "--seed", SEED, "--hang", "20")


def test_what_is_wrong_is_found_and_made_short(tmp_path: Path) -> None:
    """One of the databases answers by another client's token."""
    found: list[Found] = []
    with ExitStack() as cleanup:
        stage = Stage(cleanup)
        limits = Limits(variant_s=20.0, hang_s=5.0, shrink_s=20.0)
        runner = Runner(stage, 1, limits, lambda _: None, found.append)
        stage.server.execute(MURMUR, database=POOLED)
        runner.run([NOTHING], goes_on=False)
        (one,) = found
        assert one.finding.kind == "foreign"
        assert one.case.size == 1
        assert "murmur" in one.case.rounds[0].scripts[0].groups[0].steps[0].words[0]
        report = tmp_path / "report.txt"
        report.write_text(written(one.case, one.finding, 1, one.log))
        again = runner.replay(read(report), 1)
        assert again is not None
        assert again.signature == one.finding.signature
