"""The generated pages of docs/reference, and the tables they come from."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pgswitch.admin.statements import SHOWS, USAGE
from pgswitch.errors import ConsoleError, Fault, Notice, SilentClose
from pgswitch.errors.base import MessageFields
from pgswitch.logs.messages import MESSAGES, LogMessage
from pgswitch.reference import _ERROR_SUBJECTS, FOLDER, PAGES, reports_of, write

PACKAGE = Path(__file__).parents[2] / "pgswitch"
LOGGED = [one for messages in MESSAGES.values() for one in messages]
BASES: dict[type, str] = {
    MessageFields: "base of all",
    Fault: "base of all errors",
    SilentClose: "goes to the log only",
    ConsoleError: "base of those of the console",
    Notice: "base of the notices",
}
"""Classes of pgswitch/errors that are on no page, and why."""

UNLISTED = {
    ("admin/console.py", "{}"): "errors of the console: errors.md",
    ("auth/user_lookup.py", "{} {}"): "what wire/auth_query.py complains of",
    ("auth/login_service.py", "{} {}"): "auth_type=... goes with no auth_user",
    ("auth/auth_file.py", "{}"): "each invalid line of auth_file, with its number",
    ("auth/worker_threads.py", "{}: {}"): "the words of PAM or a directory",
    ("cli.py", "{}"): "each problem of the configuration, with its line",
    ("reload.py", "{}"): "each problem of a file, with its line",
    ("logs/twisted_log.py", "{}"): "events of Twisted",
    ("net/backend.py", "{} {}"): "reasons of net/tls_negotiation.py, and of itself",
    ("net/frontend.py", "{} {}"): "notes of pgswitch/errors",
    ("control.py", "{}"): "what SET does not take",
    ("pool/server_connections.py", "{} {}"): "the texts of pgswitch/errors/session.py",
    ("pool/server_connector.py", "{} {}"): "the words of the operating system",
    ("pool/replication.py", "{} {}"): "as pool/server_connections.py",
    ("rules/engine.py", "{}{}"): "what rules do wrong, from rules/router.py and above",
    ("cluster/monitor.py", "cluster {}: {}"): "a traceback: a fault of pgswitch",
}
"""Log calls whose text comes from elsewhere: file and form, and what they say."""
UNLISTED_FILES = {"auth/hba_policy.py": "each problem of HBA and ident files"}


ENDS = {"FatalError", "fatal"}
"""What ends the process with a FATAL line."""


class LogCall(NamedTuple):
    """A place that writes a log line: its file, level and text in normal form."""

    file: str
    level: str
    text: str


def pattern(text: str) -> re.Pattern[str]:
    """Return what finds a text of the table, with anything in place of ``{name}``."""
    return re.compile(".+".join(map(re.escape, re.split(r"\{[^{}]*\}", text))))


def form_of(node: ast.expr) -> str:
    """Return the normal form of an expression that gives a text."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "{}"
            for part in node.values
        )
    return "{}"


def trees() -> Iterator[tuple[str, ast.Module]]:
    """Yield each file of the service with its syntax tree."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith("demo/") and name != "logs/messages.py":
            yield name, ast.parse(path.read_text())


def log_calls() -> Iterator[LogCall]:
    """Yield each call of a log at WARNING or above, and each end of the process."""
    for name, tree in trees():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"warning", "error", "fatal"}
                and ast.unparse(node.func.value).endswith("log")
            ):
                yield LogCall(name, node.func.attr.upper(), form_of(node.args[0]))
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ENDS
            ):
                yield LogCall(name, "FATAL", form_of(node.args[0]))


SITES = sorted(set(log_calls()))
TEXTS = {
    form_of(node)
    for _name, tree in trees()
    for node in ast.walk(tree)
    if isinstance(node, ast.JoinedStr | ast.Constant)
}


@pytest.mark.parametrize("name", PAGES)
def test_not_stale(name: str) -> None:
    """Each page in the repository is the one that the tables give."""
    page = (FOLDER / name).read_text(encoding="utf-8")
    assert page == PAGES[name](), "run: make reference"


def test_one_command_writes_all_pages(tmp_path: Path) -> None:
    """They are the files of the folder."""
    write(tmp_path)
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.md")}
    there = {path.relative_to(FOLDER) for path in FOLDER.rglob("reference/*")}
    assert written == there | {Path("glossary.md")}


@pytest.mark.parametrize("name", PAGES)
def test_rows_have_all_their_cells(name: str) -> None:
    """No text of a table breaks a row of its page."""
    width = 0
    for line in PAGES[name]().split("\n"):
        if not line.startswith("|"):
            width = 0
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        assert cells == (width or cells), line
        width = cells


def test_each_show_and_command_has_its_place() -> None:
    """Whatever SHOW HELP names is on a page."""
    show, console = PAGES["reference/show.md"](), PAGES["reference/console.md"]()
    for name in SHOWS:
        assert f"\n## SHOW {name.upper()}\n" in show
    for line in USAGE.strip().split("\n"):
        word = line.split()[0]
        assert f"`{word}" in console


def test_each_error_says_what_to_do() -> None:
    """On the page, or as HINT to the client."""
    found = [one for _title, module in _ERROR_SUBJECTS for one in reports_of(module)]
    assert not [one for one in found if not (one.remedy or one.hint)]
    assert subclasses(MessageFields) <= {*found, *BASES}


def subclasses(base: type[MessageFields]) -> set[type[MessageFields]]:
    """Return a class and all that derive from it, those of the service only."""
    found = {base}
    for one in base.__subclasses__():
        found |= subclasses(one)
    return {one for one in found if one.__module__.startswith("pgswitch.")}


@pytest.mark.parametrize("message", LOGGED, ids=lambda one: one.text)
def test_each_log_line_is_in_the_source(message: LogMessage) -> None:
    """Its text is written somewhere, and at its level where that can be seen."""
    wanted = pattern(message.text)
    assert any(map(wanted.search, TEXTS))
    levels = {log_call.level for log_call in SITES if wanted.search(log_call.text)}
    assert not levels or message.level in levels | {"LOG"}


@pytest.mark.parametrize("log_call", SITES, ids=lambda one: f"{one.file}: {one.text}")
def test_each_log_call_is_in_the_table(log_call: LogCall) -> None:
    """At WARNING and above; or its text comes from elsewhere, as the list says."""
    is_listed = any(pattern(one.text).search(log_call.text) for one in LOGGED)
    is_excused = (
        log_call.file,
        log_call.text,
    ) in UNLISTED or log_call.file in UNLISTED_FILES
    if log_call.level == "FATAL" and log_call.text == "{}":
        return  # The text is that of a FatalError.
    assert is_listed != is_excused


def test_the_list_of_other_log_calls_is_not_stale() -> None:
    """Whatever is excused exists."""
    assert UNLISTED.keys() <= {(log_call.file, log_call.text) for log_call in SITES}
    assert UNLISTED_FILES.keys() <= {log_call.file for log_call in SITES}
