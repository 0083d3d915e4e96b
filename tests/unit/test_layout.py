"""The tree stays as described: tests mirror the code, packages and needs are listed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pgswitch"
UNIT_TESTS = ROOT / "tests" / "unit"

# Files without a unit test of their own, and why.
WITHOUT = {
    "__main__.py": "one call of cli.main",
    "admin/descriptors.py": "tests/unit/admin/show/test_sockets.py",
    "admin/statistics.py": "tests/unit/admin/show/test_stats.py",
    "logs/messages.py": "a table: tests/unit/test_reference.py",
    "pool/context.py": "holds values only",
    "relay/interfaces.py": "holds interfaces only",
    "takeover/importer.py": "needs sockets: tests/integration/test_takeover.py",
    "demo/__main__.py": "runs whole in tests/integration/test_demo.py",
    "demo/account.py": "needs other users: tests/integration/test_postgres_server.py",
    "demo/cluster.py": "needs servers: tests/integration/test_switchover.py",
    "demo/child.py": "needs processes: tests/integration/test_postgres_server.py",
    "demo/postgres.py": "is a server: tests/integration/test_postgres_server.py",
    "demo/scene.py": "needs servers: tests/integration/test_switchover_shown.py",
    "demo/switchover.py": "runs whole in tests/integration/test_switchover_shown.py",
    "demo/workload.py": "needs a server: tests/integration/test_demo.py",
}

FILES = sorted(
    path.relative_to(PACKAGE).as_posix()
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
)


def project() -> dict[str, object]:
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize("name", FILES)
def test_each_file_has_its_test(name: str) -> None:
    """``pgswitch/a/b.py`` is tested by ``tests/unit/a/test_b.py``, or says why not."""
    path = Path(name)
    has_test = (UNIT_TESTS / path.parent / f"test_{path.name}").is_file()
    assert has_test != (name in WITHOUT), "a test, or a reason in the list: one of both"


@pytest.mark.parametrize("name", WITHOUT)
def test_the_list_of_exceptions_is_not_stale(name: str) -> None:
    """Whatever is excused exists."""
    assert name in FILES


def test_every_folder_is_a_listed_package() -> None:
    """A folder that pyproject.toml forgets would be missing from an installation."""
    folders = {path.parent.relative_to(ROOT) for path in PACKAGE.rglob("*.py")}
    expected = {".".join(folder.parts) for folder in folders} | {"twisted.plugins"}
    listed = project()["tool"]["setuptools"]["packages"]  # type: ignore[index]
    assert set(listed) == expected


@pytest.mark.parametrize("folder", ["pgswitch", "tests"])
def test_every_folder_with_code_has_an_init(folder: str) -> None:
    """Without ``__init__.py`` two test files of one name would clash."""
    parents = {path.parent for path in (ROOT / folder).rglob("*.py")}
    assert not [path for path in parents if not (path / "__init__.py").is_file()]


def test_twisted_plugins_has_no_init() -> None:
    """With one, our folder would hide Twisted's own package."""
    assert not list((ROOT / "twisted").rglob("__init__.py"))


def test_requirements_are_those_of_the_package() -> None:
    """requirements.txt and pyproject.toml name the same runtime needs."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    written = [line for line in lines if line and not line.startswith("#")]
    dependencies = project()["project"]["dependencies"]  # type: ignore[index]
    assert sorted(written) == sorted(dependencies)


def test_no_grammar_is_lost_to_optimisation() -> None:
    """Nothing we ship runs Python with -OO, which drops ply's grammars (docstrings)."""
    shipped = [ROOT / "Makefile", *(ROOT / "examples").rglob("*.*")]
    pattern = re.compile(r"python\S* .*-OO|PYTHONOPTIMIZE")
    assert not [path for path in shipped if pattern.search(path.read_text())]
