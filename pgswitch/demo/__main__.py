"""``pgswitch demo``, ``python -m pgswitch.demo``: pgswitch with a real PostgreSQL.

``demo`` shows pooling, ``demo switchover`` a cluster whose writer moves.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress

from pgswitch.demo import pooling, switchover

SWITCHOVER = "switchover"


def main(
    arguments: Sequence[str] | None = None, program: str = "python -m pgswitch.demo"
) -> int:
    """Run the demo that the first argument names; return its exit status.

    ``program`` is the name that ``--help`` shows.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    with suppress(BrokenPipeError):  # the reader of our output may leave early
        if given[:1] == [SWITCHOVER]:
            return switchover.main(given[1:], f"{program} {SWITCHOVER}")
        return pooling.main(given, program)
    return 0


if __name__ == "__main__":
    sys.exit(main())
