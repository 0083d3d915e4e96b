"""How far the run is, on standard error."""

from __future__ import annotations

from typing import TextIO

BAR_CHARS = 30
LABEL_CHARS = 44
PLAIN_LINES = 20
"""How many lines at most a whole run prints where there is no terminal."""


class Progress:
    """A bar on a terminal, a line now and then elsewhere."""

    def __init__(self, total: int, out: TextIO) -> None:
        """Expect ``total`` steps; write to ``out``."""
        self._total = max(total, 1)
        self._done = 0
        self._out = out
        self._live = out.isatty()
        self._every = -(-self._total // PLAIN_LINES)

    def step(self, what: str) -> None:
        """Say that ``what`` begins, and that all before it is done."""
        if self._live:
            self._draw(what)
        elif self._done % self._every == 0:
            self._out.write(f"{self._done}/{self._total} {what}\n")
            self._out.flush()
        self._done += 1

    def say(self, line: str) -> None:
        """Print a line of its own, above the bar."""
        if self._live:
            self._out.write("\r" + " " * (BAR_CHARS + LABEL_CHARS + 20) + "\r")
        self._out.write(line + "\n")
        self._out.flush()

    def end(self) -> None:
        """Show that all is done, and leave the line."""
        self._done = self._total
        if self._live:
            self._draw("done")
            self._out.write("\n")
        else:
            self._out.write(f"{self._total}/{self._total} done\n")
        self._out.flush()

    def _draw(self, what: str) -> None:
        filled = "#" * (BAR_CHARS * self._done // self._total)
        bar = filled.ljust(BAR_CHARS, ".")
        label = what[:LABEL_CHARS].ljust(LABEL_CHARS)
        self._out.write(f"\r[{bar}] {self._done}/{self._total} {label}")
        self._out.flush()
