"""Which rules apply to which client, and what of them outlives a reload."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pgswitch.config.load import load
from pgswitch.config.model import Configuration
from pgswitch.rules.loader import REWRITING, ROUTING, RulesError
from pgswitch.rules.registry import RuleRegistry, names_rules
from tests.unit.rules.files import REWRITE, ROUTE, write

Configure = Callable[..., Configuration]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """Return what makes a configuration of settings and database entries."""

    def made(settings: str = "", databases: str = "db =") -> Configuration:
        text = f"[pgbouncer]\n{settings}\n[databases]\n{databases}\n"
        return load(write(tmp_path, "pgswitch.ini", text))

    return made


@pytest.mark.parametrize(
    "settings", ["", "routing_rules_py_module_file = not_enabled", "verbose = 0"]
)
def test_none(configure: Configure, settings: str) -> None:
    """Without a file there are no rules; the seed's word for that counts."""
    assert RuleRegistry(configure(settings)).of_database("db") is None


@pytest.mark.parametrize(
    ("databases", "settings", "expected"),
    [
        ("db = host=x", "", False),
        ("db = host=x", "routing_rules_py_module_file = not_enabled", False),
        ("db = host=x", "rewrite_query_py_module_file = a.py", True),
        ("db = host=x routing_rules_py_module_file=a.py", "", True),
    ],
)
def test_whether_any_are_named(
    configure: Configure, databases: str, settings: str, *, expected: bool
) -> None:
    """By the settings or by one database."""
    assert names_rules(configure(settings, databases)) is expected


def test_one_file_for_both(configure: Configure, tmp_path: Path) -> None:
    """It is loaded once, so that its functions share their state."""
    path = write(tmp_path, "r.py", ROUTE.format("pass\n") + REWRITE.format("pass"))
    registry = RuleRegistry(
        configure(
            f"routing_rules_py_module_file = {path}\n"
            f"rewrite_query_py_module_file = {path}\n"
            "rewrite_query_disconnect_on_failure = true\nrules_slow_ms = 3"
        )
    )
    rules = registry.of_database("any")
    assert rules is not None
    assert rules.routing is not None
    assert rules.rewriting is not None
    assert rules.routing.module is rules.rewriting.module
    assert (rules.refuses, rules.slow_us) == (True, 3000)
    assert registry.databases == {(path, REWRITING): ["*"], (path, ROUTING): ["*"]}


def test_of_one_database(configure: Configure, tmp_path: Path) -> None:
    """Its entry's settings replace those of all, each for itself."""
    default = write(tmp_path, "usual.py", ROUTE.format("pass"))
    own = write(tmp_path, "own.py", ROUTE.format("pass"))
    registry = RuleRegistry(
        configure(
            f"routing_rules_py_module_file = {default}",
            f"one = routing_rules_py_module_file={own}\n"
            "two = routing_rules_py_module_file=not_enabled\n"
            "three = rewrite_query_disconnect_on_failure=true\nfour =",
        )
    )
    found = {}
    for name in ("one", "two", "three", "four"):
        rules = registry.of_database(name)
        routing = None if rules is None else rules.routing
        found[name] = None if routing is None else Path(routing.module.path).stem
    assert found == {"one": "own", "two": None, "three": "usual", "four": "usual"}
    three = registry.of_database("three")
    assert three is not None
    assert three.refuses


def test_of_the_template(configure: Configure, tmp_path: Path) -> None:
    """Databases without an entry have the rules of ``*``."""
    own = write(tmp_path, "own.py", ROUTE.format("pass"))
    registry = RuleRegistry(
        configure("", f"one =\n* = host=h routing_rules_py_module_file={own}")
    )
    assert registry.of_database("one") is None
    assert registry.of_database("any") is not None


def test_a_reload(configure: Configure, tmp_path: Path) -> None:
    """Unchanged rules keep state and counters; changed ones are loaded again."""
    path = write(tmp_path, "r.py", ROUTE.format("pass"))
    configuration = configure(f"routing_rules_py_module_file = {path}")
    first = RuleRegistry(configuration)
    second = RuleRegistry(configuration, first)
    assert second.rules[path, ROUTING] is first.rules[path, ROUTING]
    write(tmp_path, "r.py", ROUTE.format("return 'new'"))
    third = RuleRegistry(configuration, second)
    assert third.rules[path, ROUTING] is not first.rules[path, ROUTING]
    assert RuleRegistry(configuration, third).rules == third.rules


def test_fast_patterns(configure: Configure, tmp_path: Path) -> None:
    """A change of the setting loads the files again."""
    path = write(tmp_path, "r.py", "import re\n" + ROUTE.format("pass"))
    text = f"routing_rules_py_module_file = {path}"
    first = RuleRegistry(configure(text))
    second = RuleRegistry(configure(f"{text}\nrules_fast_patterns = true"), first)
    modules = [one.rules[path, ROUTING].module for one in (first, second)]
    assert [one.module.re is re for one in modules] == [True, False]


def test_what_is_wrong(configure: Configure, tmp_path: Path) -> None:
    """Each problem is reported once, and the present registry is unchanged."""
    good = write(tmp_path, "good.py", ROUTE.format("pass"))
    before = RuleRegistry(configure(f"routing_rules_py_module_file = {good}"))
    broken = write(tmp_path, "broken.py", "import nothing_here")
    configuration = configure(
        f"routing_rules_py_module_file = {broken}\n"
        f"rewrite_query_py_module_file = {good}",
        "one = rewrite_query_disconnect_on_failure=true",
    )
    with pytest.raises(RulesError) as raised:
        RuleRegistry(configuration, before)
    assert str(raised.value).count("nothing_here") == 2, "source line and error"
    assert "has no function rewrite_query(" in str(raised.value)
    assert before.of_database("x") is not None
