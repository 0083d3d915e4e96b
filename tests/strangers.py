"""Another user of the machine, for tests of file trust; only root can act as one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgswitch.demo.processes import Account, account_for_children

ONLY_ROOT = "NOT TESTED: only root can act as another user of the machine"


def stranger() -> Account:
    """Return an account that is not ours; skips the test where we are not root."""
    account = account_for_children()
    if account is None:
        pytest.skip(ONLY_ROOT)
    return account


def give(path: Path) -> Path:
    """Make a stranger the owner of a file, folder or symbolic link; return it."""
    account = stranger()
    os.chown(path, account.uid, account.gid, follow_symlinks=False)
    return path


@contextmanager
def by_a_stranger(
    act: Callable[[], object], account: Account | None = None
) -> Iterator[None]:
    """Have a process of a stranger's do something, and be there until our end of it.

    ``account``: another than the usual one, which is that of children.
    """
    usual = stranger()
    account = account or usual
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(account.gid)
            os.setuid(account.uid)
            kept = act()
            os.write(writing, b"x")
            signal.pause()
            del kept
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    try:
        assert os.read(reading, 1) == b"x", "the stranger could not do it"
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reading)
