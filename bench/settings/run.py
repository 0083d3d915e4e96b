"""The cells of all rows, measured one after the other, and when they are bad."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from bench.runner import Progress
from bench.settings.client import IncorrectAnswer, NoAnswer, Target
from bench.settings.environment import ForkedPooler, PoolerFactory
from bench.settings.plan import DIRECT, NO_WAITS, PARTS, Row
from bench.settings.workload import Cost, Workload
from pgswitch.demo.processes import ChildFailed

MIN_CPU_S = 0.002
"""Less CPU than this is not judged: one more interrupt is half of it."""
ROUNDS = (2, 3, 4, 8)
"""How often both do the work: at first, and again while the cell looks bad."""


@dataclass(slots=True)
class Cell:
    """One kind of work with some settings.

    ``rounds`` are its costs and those of what it is compared with; ``time`` and ``cpu``
    the largest allowed ratios; ``wrong`` what was wrong with an answer, ``is_hung``
    whether there was none.
    """

    row: str
    kind: str
    time: float
    cpu: float
    rounds: list[tuple[Cost, Cost]] = field(default_factory=list)
    wrong: str = ""
    is_hung: bool = False
    tries: int = 0
    """The number of pairs of processes it was measured with."""

    @property
    def time_ratio(self) -> float | None:
        """The median of the ratios of the rounds; None without rounds."""
        return _ratio([(ours.seconds, theirs.seconds) for ours, theirs in self.rounds])

    @property
    def cpu_ratio(self) -> float | None:
        """The same for CPU; also None when there was too little to judge."""
        enough = [
            (ours.cpu, theirs.cpu)
            for ours, theirs in self.rounds
            if max(ours.cpu, theirs.cpu) >= MIN_CPU_S and theirs.cpu > 0
        ]
        return _ratio(enough)

    @property
    def is_slow(self) -> bool:
        """Whether it took more than allowed."""
        time, cpu = self.time_ratio, self.cpu_ratio
        return (time is not None and time > self.time) or (
            cpu is not None and cpu > self.cpu
        )

    @property
    def is_bad(self) -> bool:
        """Whether it is wrong or slow."""
        return bool(self.wrong) or self.is_slow

    def verdict(self) -> str:
        """Return a line that says what is bad."""
        if self.wrong:
            return f"{self.row}, {self.kind}: {self.wrong}"
        return (
            f"{self.row}, {self.kind}: {shown(self.time_ratio)} times the time"
            f" (at most {shown(self.time)}), {shown(self.cpu_ratio)} times the CPU"
            f" (at most {shown(self.cpu)}), median of {len(self.rounds)}"
        )


def shown(ratio: float | None) -> str:
    """Return a ratio for a table."""
    return "-" if ratio is None else f"{ratio:.2f}"


def _ratio(pairs: Sequence[tuple[float, float]]) -> float | None:
    return median(ours / theirs for ours, theirs in pairs) if pairs else None


WAITING_SIZE = 5.0
"""The amount of work that makes answers long enough for poolers to wait for much."""

Do = Callable[[str, Target], Cost]


class CellRunner:
    """Measures rows; ``cells`` are the results."""

    def __init__(
        self,
        environment: PoolerFactory,
        workload: Workload,
        large: Workload,
        progress: Progress,
        *,
        is_timed: bool = True,
    ) -> None:
        """Use ``workload``, or ``large`` where answers must be long.

        Not ``is_timed``: each kind of work is done once, to check its answers.
        """
        self.cells: list[Cell] = []
        self._is_timed = is_timed
        self._factory = environment
        self._workload = workload
        self._large = large
        self._progress = progress
        self._defaults: dict[bool, ForkedPooler] = {}

    def run(self, rows: Sequence[Row], kinds: Sequence[str]) -> None:
        """Measure the rows with the given kinds of work."""
        for part in PARTS:
            for row in rows:
                wanted = [kind for kind in row.kinds if kind in kinds]
                if row.part == part and wanted:
                    self._row(row, wanted)

    def _row(self, row: Row, kinds: Sequence[str]) -> None:
        cells = [self._begin(row, kind) for kind in kinds]
        self._measure(row, cells)
        # Two processes may differ by chance for as long as they live.
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
        do = (self._large if row.is_large else self._workload).do
        hung = ""
        for cell in cells:
            if not cell.tries:
                self._progress.step(f"{row.name}: {cell.kind}")
            cell.tries += 1
            if hung:
                cell.wrong = f"not tried, as {hung} got no answer"
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
        """Return the two targets to compare, and the poolers started for them.

        Raises ChildFailed when one of them does not start.
        """
        environment, tls = self._factory, row.is_server_tls
        plain = Target(environment.port, row.behaviour, row.is_client_tls)
        if row.beside == DIRECT:
            return _of(self._default(tls=tls), plain), plain, []
        own = [environment.pooler(row.changes, server_tls=tls)]
        if row.beside == NO_WAITS:
            own.append(environment.pooler(row.changes, server_tls=tls, waits=False))
        theirs = own[-1] if len(own) > 1 else self._default(tls=tls)
        return _of(own[0], plain), _of(theirs, plain), own

    def _default(self, *, tls: bool) -> ForkedPooler:
        """Return the pooler with default settings, with or without TLS to servers."""
        if tls not in self._defaults:
            self._defaults[tls] = self._factory.pooler({}, server_tls=tls)
        return self._defaults[tls]


def measure(cell: Cell, do: Do, ours: Target, theirs: Target) -> None:
    """Do a cell's work with both in turn until it looks good, or ROUNDS are used up.

    The first time does not count: it opens connections and fills caches.
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
    except (IncorrectAnswer, OSError, EOFError) as error:
        _wrong(cell, error)


def try_once(cell: Cell, do: Do, ours: Target) -> None:
    """Do a cell's work once, to check the answers."""
    try:
        do(cell.kind, ours)
    except (IncorrectAnswer, OSError, EOFError) as error:
        _wrong(cell, error)


def _wrong(cell: Cell, error: Exception) -> None:
    cell.wrong = str(error) or type(error).__name__
    cell.is_hung = isinstance(error, NoAnswer)


def _of(pooler: ForkedPooler, like: Target) -> Target:
    return replace(like, port=pooler.port, pid=pooler.pid)
