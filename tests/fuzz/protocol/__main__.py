"""``python -m tests.fuzz.protocol``: random clients, compared with PostgreSQL."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from operator import attrgetter
from pathlib import Path


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.protocol", description=__doc__
    )
    add = parser.add_argument
    add("--seconds", type=float, default=60.0, help="in all (60)")
    add("--seed", type=int, help="as an earlier run printed it")
    add("--variant", action="append", help="only this one; may be repeated")
    add("--build", type=Path, help="a folder with a compiled build of pgswitch")
    add("--all", action="store_true", help="go on after a finding, gather all kinds")
    add("--replay", type=Path, metavar="FILE", help="play the case of a report again")
    add("--times", type=int, default=5, help="how often it is played (5)")
    add("--hang", type=float, default=5.0, help="seconds before a hang is one (5)")
    add("--shrink", type=float, default=20.0, help="seconds for one finding (20)")
    add("--report", type=Path, help="where findings go (fuzz-protocol-failure.txt)")
    add("--differences", action="store_true", help="print what may differ")
    add("--variants", action="store_true", help="print the variants")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return 0, or 1 when something was found."""
    options = _parse(arguments)
    if options.build is not None:
        # Before anything of pgswitch is imported: poolers run from where we do.
        sys.path.insert(0, str(options.build.resolve()))
    from tests.fuzz.protocol import differences, report  # noqa: PLC0415
    from tests.fuzz.protocol.run import Found, Limits, Runner  # noqa: PLC0415
    from tests.fuzz.protocol.stage import Stage  # noqa: PLC0415
    from tests.fuzz.protocol.variants import BY_NAME, VARIANTS  # noqa: PLC0415

    if options.differences or options.variants:
        for line in (
            differences.described() if options.differences else map(str, VARIANTS)
        ):
            _say(line)
        return 0
    seed = random.randrange(2**32) if options.seed is None else options.seed
    variants = [
        BY_NAME[name] for name in options.variant or map(attrgetter("name"), VARIANTS)
    ]
    limits = Limits(options.seconds / len(variants), options.hang, options.shrink)
    path = options.report or report.FAILURE
    kept: list[Path] = []

    def keep(found: Found) -> None:
        number = f"-{len(kept)}" if kept else ""
        kept.append(path.with_name(path.stem + number + path.suffix))
        text = report.written(found.case, found.finding, seed, found.log)
        kept[-1].write_text(text)
        _say(text.partition(report.MARK)[0])
        _say(f"kept in {kept[-1]}; --replay plays it again")

    with ExitStack() as cleanup:
        runner = Runner(Stage(cleanup), seed, limits, _say, keep)
        if options.replay is not None:
            case = report.read(options.replay)
            finding = runner.replay(case, options.times)
            if finding is None:
                _say(f"nothing found in {options.times} times")
                return 0
            _say(report.written(case, finding, seed, ""))
            return 1
        _say(f"seed {seed}")
        runner.run(variants, goes_on=options.all)
        _say(f"{runner.scripts} scripts, {runner.skipped} rounds skipped")
    _say(f"{len(kept)} findings" if kept else "nothing found")
    return 1 if kept else 0


if __name__ == "__main__":
    sys.exit(main())
