"""The rules about imports: downward only, in no circle, some without Twisted."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "pgswitch"


class Floor(NamedTuple):
    """A row of the table: which files, how high, whether they do without Twisted."""

    pattern: str
    number: int
    pure: bool


# The first row that fits counts. On one floor files may import each other, one way.
FLOORS = (
    Floor("__init__.py", 0, pure=True),
    Floor("types.py", 0, pure=True),
    Floor("state_table.py", 0, pure=True),
    Floor("errors/*.py", 0, pure=True),
    Floor("errors/fatal.py", 0, pure=True),
    Floor("compiled.py", 0, pure=True),
    Floor("garbage.py", 0, pure=True),
    Floor("config/*.py", 1, pure=True),
    Floor("sql/*.py", 1, pure=True),
    Floor("stats/*.py", 1, pure=True),
    Floor("tls/endpoints.py", 1, pure=False),
    Floor("tls/*.py", 1, pure=True),
    Floor("wire/*.py", 1, pure=True),
    Floor("cluster/__init__.py", 1, pure=True),
    Floor("cluster/nodes.py", 1, pure=True),
    Floor("cluster/cluster_state.py", 1, pure=True),
    Floor("cluster/writer_choice.py", 1, pure=True),
    Floor("cluster/machine.py", 1, pure=True),
    Floor("cluster/replication_lag.py", 1, pure=True),
    Floor("cluster/recording.py", 1, pure=True),
    Floor("logs/twisted_log.py", 2, pure=False),
    Floor("logs/*.py", 2, pure=True),
    Floor("relay/*.py", 2, pure=True),
    Floor("rules/waiting.py", 4, pure=False),
    Floor("rules/router.py", 5, pure=True),
    Floor("rules/engine.py", 5, pure=True),
    Floor("rules/*.py", 3, pure=True),
    Floor("dns/cache.py", 3, pure=True),
    Floor("dns/resolv_conf.py", 3, pure=True),
    Floor("dns/*.py", 3, pure=False),
    Floor("net/*.py", 3, pure=False),
    Floor("cluster/clusters.py", 5, pure=False),
    Floor("cluster/backend_probe.py", 5, pure=False),
    Floor("cluster/probe_choice.py", 5, pure=False),
    Floor("cluster/routes.py", 5, pure=False),
    Floor("cluster/*.py", 3, pure=False),
    Floor("pool/loss.py", 4, pure=True),
    Floor("pool/*.py", 4, pure=False),
    Floor("auth/*.py", 4, pure=False),
    Floor("admin/*.py", 5, pure=False),
    Floor("admin/show/*.py", 5, pure=False),
    Floor("testing.py", 5, pure=False),
    Floor("takeover/serialize.py", 5, pure=True),
    Floor("takeover/*.py", 6, pure=False),
    Floor("manhole/*.py", 6, pure=False),
    Floor("process/*.py", 6, pure=False),
    Floor("commands/*.py", 6, pure=False),
    Floor("demo/*.py", 6, pure=True),
    Floor("*.py", 6, pure=False),  # the service, command line, plugin
)

FILES = sorted((ROOT / PACKAGE).rglob("*.py"))
NETWORK_PACKAGES = {"twisted", "zope"}


def name_of(path: Path) -> str:
    """Return the path below the package, such as ``wire/encode.py``."""
    return path.relative_to(ROOT / PACKAGE).as_posix()


def floor_of(name: str) -> Floor:
    """Return the row of the table for a file; a subfolder needs a row of its own."""
    for floor in FLOORS:
        if floor.pattern.count("/") == name.count("/") and fnmatch(name, floor.pattern):
            return floor
    raise AssertionError(f"{name} stands on no floor: add it to the table")


def modules_imported(source: str) -> Iterator[str]:
    """Yield every module that a source text may import, those in functions included.

    ``from a import b`` yields ``a`` and ``a.b``, for ``b`` may be a module.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_of(module: str) -> str | None:
    """Return the file of one of our modules, None for all else.

    A package's ``__init__`` says nothing about floors, except the topmost one.
    """
    first, *rest = module.split(".")
    if first != PACKAGE:
        return None
    if not rest:
        return "__init__.py"
    name = "/".join(rest) + ".py"
    return name if (ROOT / PACKAGE / name).is_file() else None


def files_imported(path: Path) -> set[str]:
    """Return the files of ours that one file imports."""
    found = {file_of(module) for module in modules_imported(path.read_text())}
    return {name for name in found if name is not None} - {name_of(path)}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_downward(path: Path) -> None:
    """No file imports one that stands higher than itself."""
    mine = floor_of(name_of(path))
    higher = {n for n in files_imported(path) if floor_of(n).number > mine.number}
    assert not higher


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_pure_files_do_without_twisted(path: Path) -> None:
    """A file marked pure imports neither Twisted nor zope.interface."""
    if floor_of(name_of(path)).pure:
        tops = {m.split(".")[0] for m in modules_imported(path.read_text())}
        assert not tops & NETWORK_PACKAGES


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_installed_packages_are_imported(path: Path) -> None:
    """The other folders of the checkout are not part of an installation."""
    tops = {m.split(".")[0] for m in modules_imported(path.read_text())}
    assert not tops & {"bench", "soak", "testkit", "tests"}


def test_no_imports_in_a_circle() -> None:
    """The files can be sorted so that each imports earlier ones only."""
    graph = {name_of(path): files_imported(path) for path in FILES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_every_import_form_is_seen() -> None:
    """The reader of imports misses none of the ways to write one."""
    source = (
        "import pgswitch.errors\n"
        "from pgswitch.wire import encode\n"
        "def f():\n    from twisted.internet import reactor\n"
        "if TYPE_CHECKING:\n    import pgswitch.types as t\n"
    )
    assert {
        "pgswitch.errors",
        "pgswitch.wire.encode",
        "twisted.internet",
        "pgswitch.types",
    } <= set(modules_imported(source))
