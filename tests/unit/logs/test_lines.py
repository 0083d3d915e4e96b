"""How a message becomes an entry of the log."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.logs import socket_prefix
from pgswitch.logs.lines import (
    LINE_LIMIT,
    JournalLines,
    JsonLines,
    Level,
    TextLines,
    clean,
)
from pgswitch.types import Address


@pytest.mark.parametrize(
    ("message", "written"),
    [
        ("plain", "plain"),
        ("a\nb", "a\n\tb"),
        ("a\tb", "a\tb"),
        ("a\rb\x1b[2J\x00", "a\\x0db\\x1b[2J\\x00"),
        ("caf\xe9", "caf\xe9"),
        ("\udcff", "\\udcff"),
    ],
)
def test_clean(message: str, written: str) -> None:
    """Whatever a client sends stays within one entry and is valid text."""
    assert clean(message) == written


@given(st.text(alphabet=st.sampled_from("a\xe9\u20ac\U0001f600"), min_size=1000))
def test_long_lines_are_cut_between_characters(message: str) -> None:
    """No line is longer than the limit, and none ends inside a character."""
    line = TextLines().entry(Level.LOG, message, 0.0)
    assert len(line) <= LINE_LIMIT
    assert line.endswith(b"\n")
    assert line.decode("utf-8")


def test_short_lines_are_not_cut() -> None:
    """A line just at the limit is whole."""
    lines = TextLines()
    room = LINE_LIMIT - len(lines.entry(Level.LOG, "", 0.0))
    assert lines.entry(Level.LOG, "x" * room, 0.0).endswith(b"x\n")
    assert lines.entry(Level.LOG, "x" * room, 0.0).count(b"x") == room
    assert lines.entry(Level.LOG, "x" * (room + 9), 0.0).count(b"x") == room


# JSON.

PREFIX = {
    "connection": "C-0x55d0",
    "database": "shop",
    "user": "joe@home",
    "address": "10.0.0.1:5432",
}


@pytest.mark.usefixtures("other_zone")
def test_an_object() -> None:
    """Time with offset, process, level, message."""
    entry = JsonLines().entry(Level.WARNING, 'low "disk"\n50%', 1_783_686_896.7895)
    assert entry.count(b"\n") == 1
    assert json.loads(entry) == {
        "time": "2026-07-10T15:34:56.789+03:00",
        "pid": os.getpid(),
        "level": "WARNING",
        "message": 'low "disk"\n50%',
    }


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (Address("10.0.0.1", 5432), "10.0.0.1:5432"),
        (Address("::1", 5432), "[::1]:5432"),
        (Address("unix", 6432, 4711), "unix(4711):6432"),
        (Address("unix", 6432), "unix:6432"),
    ],
)
def test_whom_it_is_about(address: Address, shown: str) -> None:
    """A connection's prefix is taken apart."""
    prefix = socket_prefix("C", 0x55D0, "shop", "joe@home", address)
    fields = json.loads(JsonLines().entry(Level.LOG, f"{prefix} login a=b", 0.0))
    assert fields.pop("message") == "login a=b"
    assert {name: fields[name] for name in PREFIX} == PREFIX | {"address": shown}


@pytest.mark.parametrize("user", ["joe@[home", "@[::1]:5", "a@b:1", "@" * 50])
def test_names_like_addresses(user: str) -> None:
    """The address is the last one; a name may have all that an address is made of."""
    prefix = f"C-0x55d0: shop/{user}@[::1]:6432"
    fields = json.loads(JsonLines().entry(Level.LOG, f"{prefix} login", 0.0))
    assert (fields["user"], fields["address"]) == (user, "[::1]:6432")


@given(st.text())
def test_any_message_makes_one_object(message: str) -> None:
    """Whatever a client put into it."""
    entry = JsonLines().entry(Level.LOG, message + "\udc80" * 3, 0.0)
    assert entry.endswith(b"}\n")
    assert json.loads(entry)["level"] == "LOG"


def test_long_messages_are_cut_not_objects() -> None:
    """They can be read all the same."""
    entry = JsonLines().entry(Level.LOG, "\x01" * 5000, 0.0)
    assert set(json.loads(entry)["message"]) == {"\x01"}


# The journal.


@pytest.mark.parametrize(
    ("level", "priority"),
    [("FATAL", 2), ("ERROR", 3), ("WARNING", 4), ("LOG", 6), ("DEBUG", 7)],
)
def test_priorities(level: str, priority: int) -> None:
    """In front of each line, since each is an entry of its own there."""
    entry = JournalLines().entry(Level[level], "one\ntwo", 0.0)
    assert entry == b"<%d>one\n<%d>\ttwo\n" % (priority, priority)
