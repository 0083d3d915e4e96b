"""The command ``pgswitch demo``: a PostgreSQL server, pgswitch and a workload to watch.

Exit status 0, or 1 after a failure.
"""

from __future__ import annotations

import sys

NAME = "demo"


def main(arguments: list[str], program: str) -> int:
    """Run the demo; return the exit status.

    :param arguments: what follows the word ``demo`` on the command line.
    :param program: the name shown in the usage.
    """
    try:
        # Its packages are an optional part of the installation.
        from pgswitch.demo import __main__ as demo  # noqa: PLC0415
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"{program} {NAME}: {error}; the demo needs pip install 'pgswitch[demo]'\n"
        )
        return 1
    return demo.main(arguments, f"{program} {NAME}")
