"""The plugin of twistd."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError

from pgswitch import tap
from pgswitch.process.runner import PluginRunner
from pgswitch.tap import Options
from tests.unit.captured import NotingReactor


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Give a file that can be loaded."""
    file = tmp_path / "good.ini"
    file.write_text("[databases]\n* = host=127.0.0.1\n[pgbouncer]\nlisten_port = 7\n")
    return str(file)


def parsed(*arguments: str) -> Options:
    """Return the options that a command line gives."""
    make: Any = Options
    options = make()
    options.parseOptions(arguments)
    assert isinstance(options, Options)
    return options


@pytest.mark.parametrize("option", [["--config"], ["-c"], []])
def test_options(path: str, option: list[str]) -> None:
    """The file may be named with its option or without."""
    options = parsed(*option, path)
    assert options.configuration.settings.listen_port == 7


def test_no_file() -> None:
    """The usage is shown the usage."""
    with pytest.raises(UsageError, match="no configuration file specified"):
        parsed()


def test_bad_file(tmp_path: Path) -> None:
    """Every problem is shown before twistd forks."""
    path = tmp_path / "bad.ini"
    path.write_text("[pgbouncer]\nlisten_port = many\n")
    with pytest.raises(UsageError) as caught:
        parsed("--config", str(path))
    first, *_, last = str(caught.value).splitlines()
    assert "listen_port" in first
    assert last == "cannot load config file"


def test_make_service(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller gets a service over the reactor it has chosen, not started yet."""
    made: list[object] = []

    def make(configuration: object, **parts: object) -> SimpleNamespace:
        made.append((configuration, parts["reactor"]))
        return SimpleNamespace(view=None)

    reactor = NotingReactor()
    module = SimpleNamespace(PgSwitch=make)
    monkeypatch.setitem(sys.modules, "pgswitch.service", module)
    monkeypatch.setattr("twisted.internet.reactor", reactor, raising=False)
    options = parsed(path)
    service = tap.makeService(options)
    assert isinstance(service, PluginRunner)
    assert made == [(options.configuration, reactor)]
    assert not service.running


def test_twistd_finds_the_plugin() -> None:
    """The file under twisted/plugins names the module with the right parts."""
    makers = [
        maker for maker in getPlugins(IServiceMaker) if maker.tapname == "pgswitch"
    ]
    (maker,) = makers
    assert maker.options is Options
    assert maker.makeService is tap.makeService
