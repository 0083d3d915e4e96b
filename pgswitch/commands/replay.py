"""The command ``pgswitch replay``: decides recorded switchovers again.

Exit status 0, or 1 if the file cannot be read or is not a recording.
"""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from pathlib import Path

from pgswitch.cluster.recording import BadRecord, replay

NAME = "replay"


def main(arguments: list[str], program: str) -> int:
    """Print the decision on each recorded input; return the exit status.

    :param arguments: the arguments after ``replay`` on the command line.
    :param program: the program's name in the usage.
    """
    parser = argparse.ArgumentParser(
        prog=f"{program} {NAME}",
        description="Decide recorded switchovers again (setting switchover_record).",
    )
    parser.add_argument("file", type=Path, help="the file of recorded inputs")
    given = parser.parse_args(arguments)
    try:
        with given.file.open() as lines:
            for step in replay(lines):
                at = datetime.fromtimestamp(step.at).astimezone()
                sys.stdout.write(
                    f"{at.isoformat(' ', 'milliseconds')} {step.cluster}: {step.words}"
                    f" [{step.state} {step.writer}]\n"
                )
                for command in step.commands:
                    sys.stdout.write(f"    {command}\n")
    except (OSError, UnicodeDecodeError, BadRecord) as error:
        sys.stderr.write(f"{program}: {error}\n")
        return 1
    return 0
