"""``python -m tests.fuzz SECONDS [SEED]``: by atheris if it is there, else at random.

An input that breaks something is written to ``fuzz-failure`` and shown.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from tests.fuzz.door import SEEDS, Door, ListenerControl, mutations

FAILURE = Path("fuzz-failure")


def by_coverage(door: Door, seconds: int) -> None:
    """Let atheris look for inputs that reach new code. Does not return."""
    import atheris  # noqa: PLC0415 - optional

    corpus = Path("build/fuzz")
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS):
        (corpus / f"seed-{number}").write_bytes(b"\0\0" + seed)
    atheris.instrument_all()
    atheris.Setup(
        [sys.argv[0], f"-max_total_time={seconds}", "-max_len=70000", str(corpus)],
        door.knock,
    )
    atheris.Fuzz()


def by_chance(door: Door, seconds: int, seed: int) -> None:
    """Try mutations of sensible inputs for so long."""
    print(f"no atheris: mutations at random, seed {seed}")  # noqa: T201 - a program
    end, count = time.monotonic() + seconds, 0
    for data in mutations(random.Random(seed)):
        try:
            door.knock(data)
        except BaseException:
            FAILURE.write_bytes(data)
            print(f"broken by {data!r}, kept in {FAILURE}")  # noqa: T201 - as above
            raise
        count += 1
        if time.monotonic() > end:
            break
    print(f"{count} inputs, nothing broke")  # noqa: T201 - as above


def main() -> None:
    """Run for the seconds given, 60 by default."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**32)
    with ListenerControl() as door:
        try:
            import atheris  # noqa: F401, PLC0415 - optional
        except ImportError:
            by_chance(door, seconds, seed)
        else:
            by_coverage(door, seconds)


if __name__ == "__main__":
    main()
