"""The bar, and the lines without a terminal."""

from __future__ import annotations

from io import StringIO

import pytest

from bench.progress import BAR_CHARS, PLAIN_LINES, Progress


class Terminal(StringIO):
    """A text stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def test_bar() -> None:
    """It is redrawn in place, and full at the end."""
    out = Terminal()
    progress = Progress(2, out)
    for what in ("one", "two"):
        progress.step(what)
    progress.end()
    first, second, last = out.getvalue().lstrip("\r").split("\r")
    assert first.startswith(f"[{'.' * BAR_CHARS}] 0/2 one")
    assert second.startswith(f"[{'#' * 15}{'.' * 15}] 1/2 two")
    assert last.startswith(f"[{'#' * BAR_CHARS}] 2/2 done")
    assert last.endswith("\n")


@pytest.mark.parametrize("total", [1, 20, 21, 100, 999])
def test_plain_lines(total: int) -> None:
    """A file gets few lines, however long the run."""
    out = StringIO()
    progress = Progress(total, out)
    for number in range(total):
        progress.step(f"step {number}")
    progress.end()
    lines = out.getvalue().splitlines()
    assert lines[0] == f"0/{total} step 0"
    assert lines[-1] == f"{total}/{total} done"
    assert len(lines) <= PLAIN_LINES + 1
    assert "\r" not in out.getvalue()


def test_a_line_of_its_own_clears_the_bar() -> None:
    """What is said stands alone on its line."""
    out = Terminal()
    progress = Progress(2, out)
    progress.step("one")
    progress.say("a failure")
    assert out.getvalue().endswith(" \ra failure\n")
