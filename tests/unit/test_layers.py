"""Import rules: downward only, no cycles, some files without Twisted."""

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


class Layer(NamedTuple):
    """A row of the table: which files, how high, whether they do without Twisted."""

    pattern: str
    number: int
    pure: bool


# The first matching row counts. Files of one layer may import each other, one way.
LAYERS = (
    Layer("__init__.py", 0, pure=True),
    Layer("types.py", 0, pure=True),
    Layer("state_table.py", 0, pure=True),
    Layer("errors/*.py", 0, pure=True),
    Layer("compiled.py", 0, pure=True),
    Layer("config/*.py", 1, pure=True),
    Layer("sql/*.py", 1, pure=True),
    Layer("stats/*.py", 1, pure=True),
    Layer("tls/endpoints.py", 1, pure=False),
    Layer("tls/*.py", 1, pure=True),
    Layer("wire/*.py", 1, pure=True),
    Layer("cluster/__init__.py", 1, pure=True),
    Layer("cluster/nodes.py", 1, pure=True),
    Layer("cluster/cluster_state.py", 1, pure=True),
    Layer("cluster/writer_choice.py", 1, pure=True),
    Layer("cluster/machine.py", 1, pure=True),
    Layer("cluster/replication_lag.py", 1, pure=True),
    Layer("cluster/recording.py", 1, pure=True),
    Layer("logs/twisted_log.py", 2, pure=False),
    Layer("logs/*.py", 2, pure=True),
    Layer("relay/*.py", 2, pure=True),
    Layer("rules/waiting.py", 4, pure=False),
    Layer("rules/router.py", 5, pure=True),
    Layer("rules/engine.py", 5, pure=True),
    Layer("rules/*.py", 3, pure=True),
    Layer("dns/cache.py", 3, pure=True),
    Layer("dns/*.py", 3, pure=False),
    Layer("net/*.py", 3, pure=False),
    Layer("cluster/clusters.py", 5, pure=False),
    Layer("cluster/backend_probe.py", 5, pure=False),
    Layer("cluster/probe_choice.py", 5, pure=False),
    Layer("cluster/routes.py", 5, pure=False),
    Layer("cluster/*.py", 3, pure=False),
    Layer("pool/loss.py", 4, pure=True),
    Layer("pool/*.py", 4, pure=False),
    Layer("auth/*.py", 4, pure=False),
    Layer("admin/*.py", 5, pure=False),
    Layer("admin/show/*.py", 5, pure=False),
    Layer("testing.py", 5, pure=False),
    Layer("takeover/serialize.py", 5, pure=True),
    Layer("takeover/*.py", 6, pure=False),
    Layer("manhole/*.py", 6, pure=False),
    Layer("process/*.py", 6, pure=False),
    Layer("commands/*.py", 6, pure=False),
    Layer("demo/*.py", 6, pure=True),
    Layer("*.py", 6, pure=False),  # the service, command line, plugin
)

FILES = sorted((ROOT / PACKAGE).rglob("*.py"))
NETWORK_PACKAGES = {"twisted", "zope"}


def name_of(path: Path) -> str:
    """Return the path below the package, such as ``wire/encode.py``."""
    return path.relative_to(ROOT / PACKAGE).as_posix()


def layer_of(name: str) -> Layer:
    """Return the row of the table for a file; a subfolder needs a row of its own."""
    for layer in LAYERS:
        if layer.pattern.count("/") == name.count("/") and fnmatch(name, layer.pattern):
            return layer
    raise AssertionError(f"{name} is in no layer: add it to the table")


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
    """Return the file of a pgswitch module, None for any other module.

    A package's ``__init__`` belongs to no layer, except the top-level one.
    """
    first, *rest = module.split(".")
    if first != PACKAGE:
        return None
    if not rest:
        return "__init__.py"
    name = "/".join(rest) + ".py"
    return name if (ROOT / PACKAGE / name).is_file() else None


def files_imported(path: Path) -> set[str]:
    """Return the files of pgswitch that one file imports."""
    found = {file_of(module) for module in modules_imported(path.read_text())}
    return {name for name in found if name is not None} - {name_of(path)}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_downward(path: Path) -> None:
    """No file imports one of a higher layer."""
    mine = layer_of(name_of(path))
    higher = {n for n in files_imported(path) if layer_of(n).number > mine.number}
    assert not higher


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_pure_files_do_without_twisted(path: Path) -> None:
    """A file marked pure imports neither Twisted nor zope.interface."""
    if layer_of(name_of(path)).pure:
        tops = {m.split(".")[0] for m in modules_imported(path.read_text())}
        assert not tops & NETWORK_PACKAGES


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_installed_packages_are_imported(path: Path) -> None:
    """The other folders of the checkout are not part of an installation."""
    tops = {m.split(".")[0] for m in modules_imported(path.read_text())}
    assert not tops & {"bench", "soak", "testkit", "tests"}


def test_no_import_cycles() -> None:
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
