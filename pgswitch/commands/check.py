"""The command ``pgswitch check``: describes a configuration file, and checks it.

Reads a file of PgBouncer or pgbouncer-fast-switchover as the start would, checks the
files that it names (files of rules are imported), and says for each setting whether it
acts, differs or is ignored.  It does not use the network.
"""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from pgswitch.auth import methods
from pgswitch.auth.hba_policy import read_rule_files
from pgswitch.config.load import ConfigError, load
from pgswitch.config.model import Configuration, Settings
from pgswitch.config.report import Line, SettingEffect, report
from pgswitch.config.trust import doubts
from pgswitch.config.userlist import read_userlist
from pgswitch.rules.loader import RulesError
from pgswitch.rules.registry import RuleRegistry
from pgswitch.tls import endpoints
from pgswitch.types import CONSOLE_DATABASES, AuthType

NAME = "check"
"""The command's name on the command line."""

READ = ("auth_file", "resolv_conf")
"""Settings that name a file that must exist."""
SECRET = ("auth_file",)
"""Settings that name a file that other users should not be able to read."""
MADE = ("logfile", "pidfile", "manhole_socket")
"""Settings that name a file whose folder must exist."""


def main(arguments: list[str], program: str) -> int:
    """Print the report on a file; return 0 if the service could start with it, else 1.

    :param arguments: the arguments after ``check`` on the command line.
    :param program: the program's name in the usage.
    """
    parser = argparse.ArgumentParser(
        prog=f"{program} {NAME}",
        description="Say what a configuration does, setting by setting.",
        epilog="Exit status: 0 if the configuration can be used, 1 if not.",
    )
    parser.add_argument("file", help="a configuration file, as for a start")
    given = parser.parse_args(arguments)
    try:
        configuration = load(given.file)
    except ConfigError as error:
        sys.stdout.write("".join(f"error: {one}\n" for one in error.problems))
        return 1
    lines = report(configuration)
    sys.stdout.write("".join(_table(lines)))
    problems = list(surroundings(configuration))
    sys.stdout.write("".join(f"error: {one}\n" for one in problems))
    warnings = (*exposed(configuration), *doubtful(configuration.settings))
    sys.stdout.write("".join(f"warning: {one}\n" for one in warnings))
    counts = Counter(line.verdict for line in lines)
    sys.stdout.write(
        f"{given.file}: {len(configuration.databases)} databases;"
        f" of {len(lines)} settings {counts[SettingEffect.ACTS]} act as in PgBouncer,"
        f" {counts[SettingEffect.DIFFERS]} differ,"
        f" {counts[SettingEffect.IGNORED]} are ignored;"
        f" {len(problems)} errors\n"
    )
    return 1 if problems else 0


def surroundings(configuration: Configuration) -> Iterator[str]:
    """Yield error texts about the files and addresses that a configuration names."""
    settings = configuration.settings
    for name in READ:
        path = getattr(settings, name, None)
        if path:
            yield from _unreadable(name, path)
    for name in MADE:
        path = getattr(settings, name)
        if path and not Path(path).absolute().parent.is_dir():
            yield f"{name}: there is no folder {Path(path).absolute().parent}"
    folder = settings.unix_socket_dir
    if folder and not folder.startswith("@") and not Path(folder).is_dir():
        yield f"unix_socket_dir: there is no folder {folder}"
    if not folder and not settings.listen_addr:
        yield "listen_addr, unix_socket_dir: nowhere to listen on"
    yield from _users(settings)
    yield from methods.problems(settings)
    if settings.auth_type is AuthType.HBA:
        files = read_rule_files(settings)
        yield from (*files.unreadable, *files.left_out)
    yield from endpoints.problems(configuration)
    yield from _rules(configuration)[1]


def _rules(configuration: Configuration) -> tuple[list[str], Sequence[str]]:
    """Return the files of rules, and error texts about them."""
    try:
        return RuleRegistry(configuration, None).files(), ()
    except RulesError as error:
        return [], error.problems


def exposed(configuration: Configuration) -> Iterator[str]:
    """Yield warnings about files that other users may read or change."""
    for name in SECRET:
        path = getattr(configuration.settings, name)
        if path and os.access(path, os.R_OK):
            mode = stat.S_IMODE(Path(path).stat().st_mode)
            if mode & stat.S_IROTH:
                yield f"{name}: {path} can be read by everyone (mode {mode:04o})"
    yield from doubts(configuration, _rules(configuration)[0])


def doubtful(settings: Settings) -> Iterator[str]:
    """Yield warnings about settings that admit no one, or more than they seem to."""
    if settings.auth_dbname in CONSOLE_DATABASES:
        yield (
            f"auth_dbname: auth_query cannot run in {settings.auth_dbname}, the console"
        )
    if settings.auth_type is AuthType.HBA:
        yield from read_rule_files(settings).doubtful


def _unreadable(name: str, path: str) -> Iterator[str]:
    if not os.access(path, os.R_OK):
        kind = "cannot be read" if Path(path).exists() else "does not exist"
        yield f"{name}: {path} {kind}"


def _users(settings: Settings) -> Iterator[str]:
    path = settings.auth_file
    if not path or not os.access(path, os.R_OK):
        return
    for problem in read_userlist(path).problems:
        yield f"auth_file: {problem} in {path}"


def _table(lines: list[Line]) -> Iterator[str]:
    """Yield the lines of the report, aligned, under a heading for each section."""
    texts = {line: _setting(line) for line in lines}
    width = max(map(len, texts.values()), default=0)
    for section, group in groupby(lines, key=lambda line: line.section):
        yield f"[{section}]\n"
        for line in group:
            row = f"  {texts[line]:{width}}  {line.verdict.value:7}  {line.note}"
            yield f"{row.rstrip()}\n"


def _setting(line: Line) -> str:
    prefix = f"{line.entry}: " if line.entry else ""
    return f"{prefix}{line.name} = {line.value}"
