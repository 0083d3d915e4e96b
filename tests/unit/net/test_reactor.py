"""Which reactor the command installs."""

from __future__ import annotations

import select
import sys

import pytest

from pgswitch.net import reactor


@pytest.mark.parametrize(
    ("wish", "has_epoll", "expected"),
    [
        ("", True, "lean"),
        ("", False, "default"),
        ("asyncio", True, "asyncio"),
        ("poll", False, "poll"),
    ],
)
def test_best(
    monkeypatch: pytest.MonkeyPatch, wish: str, expected: str, *, has_epoll: bool
) -> None:
    """What the environment asks for, else the fastest there is."""
    monkeypatch.setenv("PGSWITCH_REACTOR", wish)
    if not has_epoll:
        monkeypatch.delattr(select, "epoll", raising=False)
    assert reactor.best() == expected


def test_one_that_is_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process has one reactor; an unknown name is not even looked for then."""
    monkeypatch.setenv("PGSWITCH_REACTOR", "nonsense")
    present = object()
    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", present)
    reactor.install_best()
    assert sys.modules["twisted.internet.reactor"] is present


def test_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """By Twisted's own name for it."""
    installed: list[str] = []
    monkeypatch.delitem(sys.modules, "twisted.internet.reactor", raising=False)
    monkeypatch.setenv("PGSWITCH_REACTOR", "poll")
    monkeypatch.setattr(reactor, "installReactor", installed.append)
    reactor.install_best()
    assert installed == ["poll"]
