"""The cells of all rows, measured one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bench.progress import Progress
from bench.settings.client import Hung, Target, Wrong
from bench.settings.judging import ROUNDS, Cell, Cost
from bench.settings.nursery import ForkedPooler
from bench.settings.plan import DIRECT, NO_WAITS, PARTS, Row
from bench.settings.stage import Stage
from bench.settings.work import Work
from pgswitch.demo.processes import ChildFailed

WAITING_SIZE = 5.0
"""Work for one answer to take so long that much of it is waited for."""

Do = Callable[[str, Target], Cost]


class Course:
    """Measures rows; ``cells`` are what it has measured."""

    def __init__(
        self,
        stage: Stage,
        work: Work,
        large: Work,
        progress: Progress,
        *,
        is_timed: bool = True,
    ) -> None:
        """Do ``work``, and ``large`` where answers must be long.

        Not ``is_timed``: each is done once, and only its answers are looked at.
        """
        self.cells: list[Cell] = []
        self._is_timed = is_timed
        self._stage = stage
        self._work = work
        self._large = large
        self._progress = progress
        self._defaults: dict[bool, ForkedPooler] = {}

    def run(self, rows: Sequence[Row], kinds: Sequence[str]) -> None:
        """Measure the rows, of all kinds of work those given."""
        for part in PARTS:
            for row in rows:
                wanted = [kind for kind in row.kinds if kind in kinds]
                if row.part == part and wanted:
                    self._row(row, wanted)

    def _row(self, row: Row, kinds: Sequence[str]) -> None:
        cells = [self._begin(row, kind) for kind in kinds]
        self._measure(row, cells)
        # Two processes may differ by nothing but luck, for as long as they live.
        slow = [cell for cell in cells if cell.is_slow and not cell.wrong]
        if slow:
            for cell in slow:
                cell.rounds.clear()
            self._stop(*self._defaults.values())
            self._defaults.clear()
            self._measure(row, slow)
        for cell in cells:
            if cell.is_bad:
                self._progress.say(f"bad: {cell.verdict()}")

    def _measure(self, row: Row, cells: Sequence[Cell]) -> None:
        try:
            ours, theirs, own = self._targets(row)
        except ChildFailed as error:
            for cell in cells:
                cell.wrong = f"it does not start: {str(error).splitlines()[-1]}"
            return
        do = (self._large if row.is_large else self._work).do
        hung = ""
        for cell in cells:
            if not cell.tries:
                self._progress.step(f"{row.name}: {cell.kind}")
            cell.tries += 1
            if hung:
                cell.wrong = f"not tried, as {hung} hung"
            elif self._is_timed:
                measure(cell, do, ours, theirs)
            else:
                try_once(cell, do, ours)
            if cell.is_hung:
                hung = cell.kind
        self._stop(*own)

    @staticmethod
    def _stop(*poolers: ForkedPooler) -> None:
        for pooler in poolers:
            pooler.end()
            pooler.log_path.unlink()

    def _begin(self, row: Row, kind: str) -> Cell:
        cell = Cell(row.name, kind, *row.allowed(kind))
        self.cells.append(cell)
        return cell

    def _targets(self, row: Row) -> tuple[Target, Target, list[ForkedPooler]]:
        """Return whom to compare, and the poolers that were started for it.

        Raises ChildFailed when one of them does not start.
        """
        stage, tls = self._stage, row.is_server_tls
        plain = Target(stage.port, row.manner, row.is_client_tls)
        if row.beside == DIRECT:
            return _of(self._default(tls=tls), plain), plain, []
        own = [stage.pooler(row.changes, server_tls=tls)]
        if row.beside == NO_WAITS:
            own.append(stage.pooler(row.changes, server_tls=tls, waits=False))
        theirs = own[-1] if len(own) > 1 else self._default(tls=tls)
        return _of(own[0], plain), _of(theirs, plain), own

    def _default(self, *, tls: bool) -> ForkedPooler:
        """Return the pooler with the defaults, with or without TLS to servers."""
        if tls not in self._defaults:
            self._defaults[tls] = self._stage.pooler({}, server_tls=tls)
        return self._defaults[tls]


def measure(cell: Cell, do: Do, ours: Target, theirs: Target) -> None:
    """Have both do a cell's work in turn, until it looks good or was tried often.

    The first time counts for nothing: connections are opened, caches filled.
    """
    try:
        for target in (theirs, ours):
            do(cell.kind, target)
        for rounds in ROUNDS:
            for number in range(rounds):
                if number % 2:
                    first, second = do(cell.kind, ours), do(cell.kind, theirs)
                    cell.rounds.append((first, second))
                else:
                    second = do(cell.kind, theirs)
                    cell.rounds.append((do(cell.kind, ours), second))
            if not cell.is_slow:
                return
    except (Wrong, OSError, EOFError) as error:
        _wrong(cell, error)


def try_once(cell: Cell, do: Do, ours: Target) -> None:
    """Do a cell's work once, for its answers alone."""
    try:
        do(cell.kind, ours)
    except (Wrong, OSError, EOFError) as error:
        _wrong(cell, error)


def _wrong(cell: Cell, error: Exception) -> None:
    cell.wrong = str(error) or type(error).__name__
    cell.is_hung = isinstance(error, Hung)


def _of(pooler: ForkedPooler, like: Target) -> Target:
    return replace(like, port=pooler.port, pid=pooler.pid)
