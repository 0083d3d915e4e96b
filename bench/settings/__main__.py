"""``python -m bench.settings``: each setting at its extremes, against the defaults."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

# Now, as the folder of --compiled may hold an older copy.
import testkit  # noqa: F401


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return 0, 1 if a cell is bad or there are no rows, 130 after Ctrl-C."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    if options.compiled is not None:
        # Before any import of pgswitch, as poolers run from the same folder as we do.
        sys.path.insert(0, str(options.compiled.resolve()))
    from pgswitch.demo.processes import run  # noqa: PLC0415

    return run("bench.settings", lambda cleanup: _run(options, cleanup))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.settings", description=__doc__
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="end within about two minutes")
    add(
        "--only",
        type=_words,
        default=(),
        metavar="WORD,...",
        help="only rows of these parts (settings, circumstances, pairs, waits), or with"
        " one of these words in their names",
    )
    add(
        "--kinds",
        type=_words,
        default=(),
        metavar="KIND,...",
        help="only these kinds of work",
    )
    add("--waits", action="store_true", help="the same as --only waits")
    add("--untimed", action="store_true", help="check only the answers")
    add("--rows", action="store_true", help="print the rows and their allowances")
    add("--compiled", type=Path, help="folder where pgswitch is installed")
    options = parser.parse_args(arguments)
    if options.waits:
        options.only = (*options.only, "waits")
    return options


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


def _run(options: argparse.Namespace, cleanup: ExitStack) -> int:
    from bench.runner import Progress  # noqa: PLC0415
    from bench.settings import report  # noqa: PLC0415
    from bench.settings.catalogue import KINDS  # noqa: PLC0415
    from bench.settings.environment import PoolerFactory  # noqa: PLC0415
    from bench.settings.plan import chosen, planned  # noqa: PLC0415
    from bench.settings.run import WAITING_SIZE, CellRunner  # noqa: PLC0415
    from bench.settings.workload import Workload  # noqa: PLC0415
    from pgswitch.compiled import is_compiled  # noqa: PLC0415

    if options.rows:
        for row in planned(has_tls=True, is_quick=options.quick):
            print(f"{row.part}: {row.name} {dict(row.changes) or ''}")
        print(f"\n{report.allowances()}")
        return 0
    kinds = options.kinds or KINDS
    factory = PoolerFactory(cleanup)
    rows = chosen(
        planned(has_tls=factory.has_tls, is_quick=options.quick), options.only
    )
    steps = sum(kind in kinds for row in rows for kind in row.kinds)
    if not steps:
        print("no such rows: --rows shows them", file=sys.stderr)
        return 1
    without = "" if factory.has_tls else " without TLS"
    print(
        f"PostgreSQL {factory.version}{without},"
        f" hot path compiled: {is_compiled()}, {steps} cells",
        flush=True,
    )
    workload = Workload(factory.port, factory.database)
    large = Workload(factory.port, factory.database, WAITING_SIZE)
    cleanup.callback(workload.end)
    cleanup.callback(large.end)
    workload.prepare()
    progress = Progress(steps, sys.stderr)
    runner = CellRunner(
        factory, workload, large, progress, is_timed=not options.untimed
    )
    runner.run(rows, kinds)
    progress.end()
    cells = runner.cells
    for text in report.tables(rows, cells):
        print(f"\n{text}")
    print(f"\n{report.allowances()}\n\n{report.summary(cells)}")
    bad = [cell.verdict() for cell in cells if cell.is_bad]
    for line in bad:
        print(f"bad: {line}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
