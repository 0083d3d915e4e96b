"""Imports of a user's file: its own folder first, nothing left behind elsewhere.

Theory of operation.  A file of rules imports what lies beside it (tables, shared
functions) as a script does.  Python keeps imported modules in ``sys.modules`` for
good, which would make a changed file have no effect, and two folders with files of
one name mix.  So each loading has a :class:`Library`: its modules are made from
source every time, stand in ``sys.modules`` only while one of them imports, and carry
builtins of their own, whose ``__import__`` looks here first, inside functions too.
Names of the standard library, of Twisted and of this program are never taken from
the user's folder.
"""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import (
    SOURCE_SUFFIXES,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from pgswitch.rules.patterns import Patterns

Stamp = tuple[int, int, int]

NOT_FROM_HERE = sys.stdlib_module_names | {"pgswitch", "twisted", "zope"}


def stamp_of(path: str) -> Stamp:
    """Return time, size and number of a file, which change when it is written."""
    seen = os.stat(path)  # noqa: PTH116 - three fields of one system call
    return seen.st_mtime_ns, seen.st_size, seen.st_ino


class _Loader(SourceFileLoader):
    """Makes a module from source, never from ``__pycache__``."""

    def __init__(self, name: str, path: str, library: Library) -> None:
        super().__init__(name, path)
        self.library = library

    def get_code(self, fullname: str) -> CodeType:
        # Compiled files are matched by size and whole seconds: too coarse for edits.
        del fullname
        self.library.stamps[self.path] = stamp_of(self.path)
        source = self.get_data(self.path)
        self.library.sources[self.path] = source
        return self.source_to_code(source, self.path)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = self.library.builtins
        super().exec_module(module)


class Library:
    """One folder of a user's modules, loaded once."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; nothing of it is read before it is imported."""
        self.folder = folder
        self.sources: dict[str, bytes] = {}
        """What was read, by path."""
        self.stamps: dict[str, Stamp] = {}
        """The same files' stamps just before."""
        self.builtins = {**vars(builtins), "__import__": self._import}
        self._re = Patterns().module()
        self._modules: dict[str, ModuleType] = {}
        self._inside = False
        self._names = {
            path.stem
            for path in folder.iterdir()
            if path.suffix in SOURCE_SUFFIXES or (path / "__init__.py").is_file()
        } - NOT_FROM_HERE

    def main(self, path: Path) -> ModuleType:
        """Return the module made from a file of the folder, whatever its name.

        Raises what its top level raises, and OSError or SyntaxError.
        """
        name = f"rules_{path.stem}" if path.stem in NOT_FROM_HERE else path.stem
        loader = _Loader(name, str(path), self)
        spec = spec_from_file_location(name, path, loader=loader)
        if spec is None:
            raise ImportError(f"cannot be imported: {path}")
        module = module_from_spec(spec)
        self._names.add(name)
        self._modules[name] = module
        with self._entered():
            loader.exec_module(module)
        return module

    # What Python's import system calls.

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: object = None
    ) -> ModuleSpec | None:
        """Return where a module of this folder comes from, None for all others."""
        del target
        if name.partition(".")[0] not in self._names:
            return None
        for place in [str(self.folder)] if path is None else path:
            # Any function that makes a loader will do.
            finder = FileFinder(place, (self._loader, SOURCE_SUFFIXES))  # type: ignore[arg-type]
            spec = finder.find_spec(name)
            if spec is not None and spec.loader is not None:
                return spec
        return None

    def _loader(self, name: str, path: str) -> _Loader:
        return _Loader(name, path, self)

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - named by Python
        locals: Mapping[str, Any] | None = None,  # noqa: A002 - named by Python
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if name == "re" and level == 0:
            return self._re
        if level == 0 and name.partition(".")[0] not in self._names:
            return __import__(name, globals, locals, fromlist or (), 0)
        if level == 0 and not self._inside and name in self._modules:
            # An import inside a function, which runs for each query.
            module = self._modules[name if fromlist else name.partition(".")[0]]
            if all(hasattr(module, wanted) for wanted in fromlist or ()):
                return module
        with self._entered():
            return __import__(name, globals, locals, fromlist or (), level)

    @contextmanager
    def _entered(self) -> Iterator[None]:
        """Show this folder's modules to the import system for a moment."""
        if self._inside:
            yield
            return
        self._inside = True
        hidden = self._taken_out()
        sys.modules.update(self._modules)
        sys.meta_path.insert(0, self)
        try:
            yield
        finally:
            sys.meta_path.remove(self)
            self._modules = self._taken_out()
            sys.modules.update(hidden)
            self._inside = False

    def _taken_out(self) -> dict[str, ModuleType]:
        """Take all modules out of ``sys.modules`` that have our names."""
        names = [n for n in sys.modules if n.partition(".")[0] in self._names]
        return {name: sys.modules.pop(name) for name in names}
