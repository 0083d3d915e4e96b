"""Loads a user's file of rules and checks it before any client meets it."""

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
"""Frames of a traceback that are logged, the last ones."""

MAX_TRACE_LENGTH: Final = 10_000
"""Characters of it."""

_FULL, _SHORT = 3, 2


class RulesError(Exception):
    """Files of rules cannot be used; ``problems`` say why, with tracebacks if any."""

    def __init__(self, *problems: str) -> None:
        """Take what is wrong, at least one thing."""
        super().__init__("\n\n".join(problems))
        self.problems = problems


class RuleModule:
    """A user's file, imported: the module, and what tells whether it has changed."""

    def __init__(self, path: str, module: ModuleType, library: Library) -> None:
        """Take the module and the library that it was imported by."""
        self.path = path
        self.module = module
        self._library = library
        self.written_at = library.stamps[path][0] / 1e9
        """Time stamp of the file, in seconds since the epoch."""

    @property
    def digest(self) -> str:
        """The SHA-256 of the file and of all it has imported from its folder."""
        total = hashlib.sha256()
        for path, source in sorted(self._library.sources.items()):
            total.update(path.encode("utf-8", "surrogateescape") + b"\0")
            total.update(hashlib.sha256(source).digest())
        return total.hexdigest()

    @property
    def files(self) -> dict[str, bytes]:
        """What was read, by path: the file and what it imported from its folder."""
        return self._library.sources

    @property
    def fast_patterns(self) -> bool:
        """Whether the file has the module ``re`` of patterns.py."""
        return self._library.fast_patterns

    def has_changed(self) -> bool:
        """Tell whether one of the files was written since it was read."""
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
    """Return a module's function, how many arguments it takes, and if a context too.

    It takes (username, query, in_transaction) or, as the first users' samples do,
    (username, query); ``context`` beside them when it has a parameter of that name.
    Raises RulesError when it is missing or takes anything else.
    """
    try:
        return _function_of(module, name)
    except RulesError:
        raise
    except BaseException as error:
        # What the module has by that name can be anything.
        if is_ctrl_c(error):
            raise
        text = f"{module.path}: {name} cannot be looked at: {describe_error(error)}"
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
    """Return a traceback that begins in the user's folder, the last frames of it."""
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

    def __init__(self, folder: Path, *, fast_patterns: bool = False) -> None:
        """Take the folder; its files are read when they are imported."""
        self.folder = folder
        self.fast_patterns = fast_patterns
        self.sources: dict[str, bytes] = {}
        """What was read, by path."""
        self.stamps: dict[str, Stamp] = {}
        """The same files' stamps just before."""
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
        """Return the module made from a file of the folder, whatever its name.

        Raises what its top level raises, and OSError or SyntaxError.
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
        if name == "re" and level == 0 and self._re is not None:
            return self._re
        if level == 0 and name.partition(".")[0] not in self._names:
            return __import__(name, globals, locals, fromlist or (), 0)
        if level == 0 and not self._inside and name in self._modules:
            # An import inside a function, which runs for each query.
            module = self._modules[name if fromlist else name.partition(".")[0]]
            if all(hasattr(module, wanted) for wanted in fromlist or ()):
                return module
        with self._installed():
            return __import__(name, globals, locals, fromlist or (), level)

    @contextmanager
    def _installed(self) -> Iterator[None]:
        """Show this folder's modules to the import system for a moment."""
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
        """Take all modules out of ``sys.modules`` that have our names."""
        names = [n for n in sys.modules if n.partition(".")[0] in self._names]
        return {name: sys.modules.pop(name) for name in names}
