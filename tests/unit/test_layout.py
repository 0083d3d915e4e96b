"""The tree stays as described: packages and needs are listed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pgswitch"


def project() -> dict[str, object]:
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


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


def test_architecture_names_what_exists() -> None:
    """Each file and folder of the package that ARCHITECTURE.md names is there."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = set(re.findall(r"`((?:\w+/)+(?:\w+\.(?:py|c))?|\w+\.py)`", text))
    missing = {
        name
        for name in named
        if not any((base / name).exists() for base in (PACKAGE, ROOT))
    }
    assert missing == set()


SMALL = 60
STAND_FOR_THEMSELVES = {
    "__main__.py": "python -m pgswitch",
    "auth/pam.py": "needs a library that may be missing",
    "commands/demo.py": "a command, loaded by name",
    "commands/replay.py": "a command, loaded by name",
    "compiled.py": "imported before anything that is compiled",
    "config/grammars.py": "ply, for two grammars of different layers",
    "demo/__main__.py": "python -m pgswitch.demo",
    "logs/twisted_log.py": "the one file of logs/ that needs Twisted",
    "net/reactor.py": "chosen before a reactor is imported",
    "relay/syscalls.py": "stands in for syscalls.c",
    "sql/fingerprint.py": "users import it",
    "wire/cancel_key.py": "the layout of one value",
}


def test_small_files_stand_for_themselves() -> None:
    """A responsibility of few lines lives with its subject, or says why not."""
    small = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py" and len(path.read_text().splitlines()) < SMALL
    }
    assert small == STAND_FOR_THEMSELVES.keys()
