"""Loads a user's file of rules, and checks it before any client uses it.

Theory of operation.  A file of rules imports modules from its own folder (tables,
shared functions), as a script does.  Python keeps imported modules in ``sys.modules``
for good: a changed file would have no effect, and files with the same name in two
folders would mix.  So each load has a :class:`Library`: it makes its modules from
source every time, shows them in ``sys.modules`` only while one of them imports, and
gives them builtins of their own, whose ``__import__`` looks here first, also inside
functions, which run later.  (A private package name would not do: the modules import
each other by their plain names.)  Names of the standard library, of Twisted and of this
program are never taken from the user's folder.
"""

from __future__ import annotations

import builtins
import hashlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from typing import Any, Final

from pgswitch.rules.describe import describe_error, is_ctrl_c, message_of
from pgswitch.rules.patterns import Patterns

ROUTING: Final = "routing_rules"
REWRITING: Final = "rewrite_query"
MAX_FRAMES: Final = 10
"""Maximum frames of a logged traceback; the last ones count."""

MAX_TRACE_LENGTH: Final = 10_000
"""Maximum characters of a logged traceback."""

_FULL, _SHORT = 3, 2


class RulesError(Exception):
    """Files of rules cannot be used; ``problems`` says why, with any tracebacks."""

    def __init__(self, *problems: str) -> None:
        """Take at least one problem."""
        super().__init__("\n\n".join(problems))
        self.problems = problems


class RuleModule:
    """A user's imported file: its module and the files it was read from."""

    def __init__(self, path: str, module: ModuleType, library: Library) -> None:
        """Take the module and the library that it was imported by."""
        self.path = path
        self.module = module
        self._library = library
        self.written_at = library.stamps[path][0] / 1e9
        """Modification time of the file, in seconds since the epoch."""

    @property
    def digest(self) -> str:
        """The SHA-256 of the file and of its imports from its folder."""
        total = hashlib.sha256()
        for path, source in sorted(self._library.sources.items()):
            total.update(path.encode("utf-8", "surrogateescape") + b"\0")
            total.update(hashlib.sha256(source).digest())
        return total.hexdigest()

    @property
    def files(self) -> dict[str, bytes]:
        """Sources by path: the file and its imports from its folder."""
        return self._library.sources

    @property
    def fast_patterns(self) -> bool:
        """Whether the file has the module ``re`` of patterns.py."""
        return self._library.fast_patterns

    def has_changed(self) -> bool:
        """Return whether one of the files was written since it was read."""
        try:
            return any(
                stamp != stamp_of(path) for path, stamp in self._library.stamps.items()
            )
        except OSError:
            return True


def load_module(path: str, *, fast_patterns: bool = False) -> RuleModule:
    """Import a file again; raises RulesError with the traceback of the user's code.

    ``fast_patterns``: replace the module ``re`` that the file imports (patterns.py).
    """
    place = Path(path).absolute()
    try:
        library = Library(place.parent, fast_patterns=fast_patterns)
        return RuleModule(str(place), library.main(place), library)
    except OSError as error:
        words = message_of(error.strerror or error)
        raise RulesError(f"could not read {path}: {words}") from error
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        raise RulesError(f"could not import {path}: {trace(error, place)}") from error


def function_of(module: RuleModule, name: str) -> tuple[Callable[..., Any], int, bool]:
    """Return a module's function, its number of arguments, and if it takes a context.

    It takes (username, query, in_transaction) or, as in the fork's first samples,
    (username, query); and ``context`` if it has a parameter of that name.  Raises
    RulesError if it is missing or has other parameters.
    """
    try:
        return _function_of(module, name)
    except RulesError:
        raise
    except BaseException as error:
        # The module's object of that name can be anything.
        if is_ctrl_c(error):
            raise
        text = f"{module.path}: {name} cannot be inspected: {describe_error(error)}"
        raise RulesError(text) from error


def _function_of(module: RuleModule, name: str) -> tuple[Callable[..., Any], int, bool]:
    function = getattr(module.module, name, None)
    if not callable(function):
        raise RulesError(
            f"{module.path} has no function {name}(username, query, in_transaction)"
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return function, _FULL, False
    wants_context = "context" in signature.parameters
    more = {"context": None} if wants_context else {}
    for count in (_FULL, _SHORT):
        try:
            signature.bind(*range(count), **more)
        except TypeError:
            continue
        return function, count, wants_context
    raise RulesError(
        f"{module.path}: {name}{signature} cannot be called with"
        " (username, query, in_transaction)"
    )


def trace(error: BaseException, place: Path) -> str:
    """Return the last frames of a traceback, starting in the user's folder."""
    whole = traceback.TracebackException.from_exception(error)
    frames = [
        one
        for one in whole.stack
        if "importlib" not in one.filename and one.filename != __file__
    ]
    own = str(place.parent)
    while frames and not frames[0].filename.startswith(own):
        del frames[0]
    whole.stack = traceback.StackSummary.from_list(frames[-MAX_FRAMES:])
    return "".join(whole.format(chain=False)).rstrip()[:MAX_TRACE_LENGTH]


Stamp = tuple[int, int, int]

RESERVED_NAMES = sys.stdlib_module_names | {"pgswitch", "twisted", "zope"}


def stamp_of(path: str) -> Stamp:
    """Return time, size and inode of a file, which change when it is written."""
    seen = os.stat(path)  # noqa: PTH116 - three fields of one system call
    return seen.st_mtime_ns, seen.st_size, seen.st_ino


class _Loader(SourceFileLoader):
    """Makes a module from its source, never from ``__pycache__``."""

    def __init__(self, name: str, path: str, library: Library) -> None:
        super().__init__(name, path)
        self.library = library

    def get_code(self, fullname: str) -> CodeType:
        # Bytecode files are matched by size and whole seconds: too coarse for edits.
        del fullname
        self.library.stamps[self.path] = stamp_of(self.path)
        source = self.get_data(self.path)
        self.library.sources[self.path] = source
        return self.source_to_code(source, self.path)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = self.library.builtins
        super().exec_module(module)


class Library:
    """The modules of one user's folder, loaded once."""

    def __init__(self, folder: Path, *, fast_patterns: bool = False) -> None:
        """Take the folder; its files are read when they are imported."""
        self.folder = folder
        self.fast_patterns = fast_patterns
        self.sources: dict[str, bytes] = {}
        """The sources that were read, by path."""
        self.stamps: dict[str, Stamp] = {}
        """The files' stamps just before reading."""
        self.builtins = {**vars(builtins), "__import__": self._import}
        self._re = Patterns().module() if fast_patterns else None
        self._modules: dict[str, ModuleType] = {}
        self._inside = False
        self._names = {
            path.stem
            for path in folder.iterdir()
            if path.suffix in SOURCE_SUFFIXES or (path / "__init__.py").is_file()
        } - RESERVED_NAMES

    def main(self, path: Path) -> ModuleType:
        """Return the module of a file in the folder, whatever its name.

        Raises the exceptions of its top level, OSError and SyntaxError.
        """
        name = f"rules_{path.stem}" if path.stem in RESERVED_NAMES else path.stem
        loader = _Loader(name, str(path), self)
        spec = spec_from_file_location(name, path, loader=loader)
        if spec is None:
            raise ImportError(f"cannot be imported: {path}")
        module = module_from_spec(spec)
        self._names.add(name)
        self._modules[name] = module
        with self._installed():
            loader.exec_module(module)
        return module

    # Called by Python's import system.

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: object = None
    ) -> ModuleSpec | None:
        """Return the spec of a module in this folder, None for all others."""
        del target
        if name.partition(".")[0] not in self._names:
            return None
        for place in [str(self.folder)] if path is None else path:
            # FileFinder accepts any function that makes a loader.
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
        if name == "re" and level == 0 and self._re is not None:
            return self._re
        if level == 0 and name.partition(".")[0] not in self._names:
            return __import__(name, globals, locals, fromlist or (), 0)
        if level == 0 and not self._inside and name in self._modules:
            # A fast path for an import inside a function, which runs for each query.
            module = self._modules[name if fromlist else name.partition(".")[0]]
            if all(hasattr(module, wanted) for wanted in fromlist or ()):
                return module
        with self._installed():
            return __import__(name, globals, locals, fromlist or (), level)

    @contextmanager
    def _installed(self) -> Iterator[None]:
        """Show this folder's modules to the import system temporarily."""
        if self._inside:
            yield
            return
        self._inside = True
        hidden = self._remove_ours()
        sys.modules.update(self._modules)
        sys.meta_path.insert(0, self)
        try:
            yield
        finally:
            sys.meta_path.remove(self)
            self._modules = self._remove_ours()
            sys.modules.update(hidden)
            self._inside = False

    def _remove_ours(self) -> dict[str, ModuleType]:
        """Remove all modules with our names from ``sys.modules``; return them."""
        names = [n for n in sys.modules if n.partition(".")[0] in self._names]
        return {name: sys.modules.pop(name) for name in names}
