"""The command line of ``python -m bench``."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from bench.loads import Load
from bench.rows import LOADS

ROUNDS, QUICK_ROUNDS = 5, 3
PAGE = Path("docs/performance.md")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; ``command`` among them is how a reader gets the same."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="CPU, speed and memory of pgswitch beside PgBouncer and HAProxy.",
    )
    parser.add_argument("--quick", action="store_true", help="end within two minutes")
    parser.add_argument("--rounds", type=int, help=f"how many (default {ROUNDS})")
    parser.add_argument(
        "--only",
        type=_words,
        default=LOADS,
        metavar="LOAD,...",
        help=f"these loads alone, of {', '.join(LOADS)}",
    )
    parser.add_argument(
        "--contenders",
        type=_words,
        default=(),
        metavar="NAME,...",
        help="these poolers alone, by their names in the tables",
    )
    parser.add_argument(
        "--pgbouncer",
        type=Path,
        metavar="FILE",
        help="the PgBouncer to compare with (default: the machine's)",
    )
    parser.add_argument(
        "--compiled",
        type=Path,
        default=Path("build/compiled"),
        help="folder that pgswitch was installed to (default build/compiled)",
    )
    add_common(parser, "bench")
    options = parser.parse_args(arguments)
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds: at least one")
    for word in options.only:
        if word not in LOADS:
            parser.error(f"--only: no load {word!r}, there are {', '.join(LOADS)}")
    options.command = _command(arguments)
    return options


def add_common(parser: argparse.ArgumentParser, files: str) -> None:
    """Add what ``python -m bench.switchover`` has too; ``files`` names its files."""
    parser.add_argument(
        "--other",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="one more pooler; {file} in the command stands for its pgbouncer.ini",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/bench"),
        help=f"folder for {files}.json and {files}.svg (default build/bench)",
    )
    parser.add_argument(
        "--publish", action="store_true", help=f"write the figures into {PAGE} too"
    )


def chosen(loads: Sequence[Load], only: Sequence[str]) -> list[Load]:
    """Return the loads whose words are among ``only``."""
    return [load for load in loads if load.word in only]


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


def _command(arguments: Sequence[str]) -> str:
    """Return how a reader gets the same: as a call of make."""
    others = [part for part in arguments if part not in {"--quick", "--publish"}]
    words = ["make bench"]
    if "--quick" in arguments:
        words.append("QUICK=1")
    if others:
        text = shlex.join(others)
        words.append(f'ARGS="{text}"' if "'" in text else f"ARGS={shlex.quote(text)}")
    return " ".join(words)
