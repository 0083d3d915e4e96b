"""Poolers that are forked from one process which has imported everything.

A start takes half a second of imports; a run has some hundreds of them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pgswitch
from pgswitch.demo.account import Account
from pgswitch.demo.pooler import UP_LINE, Pooler
from pgswitch.demo.processes import POLL_S, ChildFailed

PROGRAM = """\
import json, os, signal, sys
from pgswitch.cli import main
import pgswitch.handover.reboot, pgswitch.process.runner, pgswitch.service
from pgswitch.net.lean_reactor import LeanReactor

def run(order):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.chdir(order["directory"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(old, new)
    if not order["waits"]:
        made = LeanReactor.__init__
        def make(self):
            made(self)
            self.turns.patience.least = 0
        LeanReactor.__init__ = make
    sys.argv = ["pgswitch"]
    return main(order["arguments"])

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
children = []
for line in sys.stdin:
    order = json.loads(line)
    pid = os.fork()
    if not pid:
        code = 1
        try:
            code = run(order)
        finally:
            sys.stderr.flush()
            os._exit(code)
    children.append(pid)
    print(pid, flush=True)
for pid in children:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""
"""Forks for each line that it reads; at the end of them it ends what still runs.

With ``waits`` false every link is woken by every byte (relay/link.py, ``Patience``).
"""
START_S, STOP_S = 20.0, 5.0


class Nursery:
    """The process that poolers are forked from."""

    def __init__(self) -> None:
        """Start it, from where our own pgswitch is."""
        place = str(Path(pgswitch.__file__).parent.parent)
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            cwd="/",
            env={**os.environ, "PYTHONPATH": place},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def fork(self, order: dict[str, object]) -> int:
        """Return the number of a new process. Raises ChildFailed when there is none."""
        process = self._process
        if process.stdin is not None and process.stdout is not None:
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(order) + "\n")
                process.stdin.flush()
                if answer := process.stdout.readline():
                    return int(answer)
        raise ChildFailed("the process that poolers are forked from has ended")

    def end(self) -> None:
        """End it, and all poolers that still run."""
        self._process.communicate(timeout=STOP_S)


class ForkedPooler(Pooler):
    """A pooler of a nursery; its files are those of any other."""

    def __init__(
        self, nursery: Nursery, directory: Path, account: Account | None
    ) -> None:
        super().__init__(directory, account)
        self.pid = 0
        self._nursery = nursery
        self._user = [] if account is None else ["-u", account.name]

    def begin(self, *, waits: bool) -> None:
        """Start it; ``waits`` false: it waits for no more than a byte.

        Raises ChildFailed, with the end of its log, when it does not listen soon.
        """
        self.pid = self._nursery.fork(
            {
                "arguments": [*self._user, str(self.ini_path)],
                "directory": str(self.directory),
                "log": str(self.log_path),
                "waits": waits,
            }
        )
        deadline = time.monotonic() + START_S
        while UP_LINE not in self.log_text():
            if not self._is_there() or time.monotonic() > deadline:
                lines = self.log_text().splitlines()
                raise ChildFailed("\n".join(["it did not start", *lines[-5:]]))
            time.sleep(POLL_S)  # noqa: TID251 - no reactor runs in this process

    def end(self) -> None:
        """End it at once, if it runs."""
        if not self.pid:
            return
        for number in (signal.SIGQUIT, signal.SIGKILL):
            deadline = time.monotonic() + STOP_S
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
            while self._is_there() and time.monotonic() < deadline:
                time.sleep(POLL_S / 4)  # noqa: TID251 - as above
        self.pid = 0

    def _is_there(self) -> bool:
        """Tell whether it runs: a pooler that has ended is no zombie, see PROGRAM."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, 0)
            return True
        return False
