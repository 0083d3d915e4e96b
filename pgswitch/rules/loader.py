"""Loads a user's file of rules and checks it before any client meets it."""

from __future__ import annotations

import hashlib
import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from pgswitch.rules import importing
from pgswitch.rules.describe import is_of_a_signal, told, words_of
from pgswitch.rules.importing import Library, stamp_of

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
        """Take what :func:`load_module` made."""
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

    def has_changed(self) -> bool:
        """Tell whether one of the files was written since it was read."""
        try:
            return any(
                stamp != stamp_of(path) for path, stamp in self._library.stamps.items()
            )
        except OSError:
            return True


def load_module(path: str) -> RuleModule:
    """Import a file afresh; raises RulesError with the traceback of the user's code."""
    place = Path(path).absolute()
    try:
        library = Library(place.parent)
        return RuleModule(str(place), library.main(place), library)
    except OSError as error:
        words = words_of(error.strerror or error)
        raise RulesError(f"could not read {path}: {words}") from error
    except BaseException as error:
        if is_of_a_signal(error):
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
        if is_of_a_signal(error):
            raise
        text = f"{module.path}: {name} cannot be looked at: {told(error)}"
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
        if "importlib" not in one.filename and one.filename != importing.__file__
    ]
    own = str(place.parent)
    while frames and not frames[0].filename.startswith(own):
        del frames[0]
    whole.stack = traceback.StackSummary.from_list(frames[-MAX_FRAMES:])
    return "".join(whole.format(chain=False)).rstrip()[:MAX_TRACE_LENGTH]
