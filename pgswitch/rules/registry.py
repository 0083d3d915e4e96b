"""The registry of rules: the functions for the queries of each database.

A registry is loaded completely or not at all, and takes over what has not changed from
the previous one: modules, their state and counters.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from pgswitch.config.model import TEMPLATE, Configuration, DatabaseSpec
from pgswitch.rules.evaluate import RuleSet
from pgswitch.rules.loader import (
    REWRITING,
    ROUTING,
    RuleModule,
    RulesError,
    load_module,
)
from pgswitch.rules.rule_function import RuleFunction

OFF = "not_enabled"
"""The value of a path setting that means "no rules"."""
MICROSECONDS_PER_MS = 1000


class RuleRegistry:
    """The rule sets by database; ``default`` is for all others."""

    def __init__(
        self,
        configuration: Configuration,
        before: RuleRegistry | None = None,
        *,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        """Load the files that the configuration names.

        Raises RulesError with all problems; ``before`` then does not change.
        """
        self._clock = clock
        self._before = before
        self._fast_patterns = configuration.settings.rules_fast_patterns
        self._modules: dict[str, RuleModule] = {}
        self._problems: list[str] = []
        self.rules: dict[tuple[str, str], RuleFunction] = {}
        """By path and function name."""
        self.databases: dict[tuple[str, str], list[str]] = {}
        """Databases by path and function name; ``*``: those without own settings."""
        self.default = self._rule_set(configuration, None)
        self._sets = {
            name: self._rule_set(configuration, spec)
            for name, spec in configuration.databases.items()
            if _has_own(spec)
        }
        self._entries = configuration.databases.keys()
        self._before = None
        if self._problems:
            raise RulesError(*dict.fromkeys(self._problems))

    def of_database(self, name: str) -> RuleSet | None:
        """Return the rules for the clients of a database, None if there are none.

        A database without an entry of its own has the rules of the entry ``*``.
        """
        entry = name if name in self._entries else TEMPLATE
        return self._sets.get(entry, self.default)

    def files(self) -> list[str]:
        """Return the files of rules, with all files they import from their folders."""
        found: list[str] = []
        for module in self._modules.values():
            found += module.files
        return found

    def _rule_set(
        self, configuration: Configuration, spec: DatabaseSpec | None
    ) -> RuleSet | None:
        settings = configuration.settings

        def value(name: str) -> object:
            own = None if spec is None else getattr(spec, name)
            return getattr(settings, name) if own is None else own

        database = "*" if spec is None else spec.name
        rewriting = self._rule(
            value("rewrite_query_py_module_file"), REWRITING, database
        )
        routing = self._rule(value("routing_rules_py_module_file"), ROUTING, database)
        if rewriting is None and routing is None:
            return None
        return RuleSet(
            rewriting,
            routing,
            refuses=bool(value("rewrite_query_disconnect_on_failure")),
            slow_us=settings.rules_slow_ms * MICROSECONDS_PER_MS,
        )

    def _rule(self, path: object, name: str, database: str) -> RuleFunction | None:
        """Return a file's function; None if there is none or it cannot be used."""
        if not isinstance(path, str) or path in ("", OFF):
            return None
        key = (path, name)
        self.databases.setdefault(key, []).append(database)
        if key not in self.rules:
            try:
                module = self._module(path)
                old = None if self._before is None else self._before.rules.get(key)
                self.rules[key] = (
                    old
                    if old is not None and old.module is module
                    else RuleFunction(module, name, self._clock)
                )
            except RulesError as error:
                self._problems += error.problems
                return None
        return self.rules[key]

    def _module(self, path: str) -> RuleModule:
        """Return a file's module; the previous one if nothing has changed."""
        if path not in self._modules:
            old = None if self._before is None else self._before._modules.get(path)  # noqa: SLF001 - of its own class
            if (
                old is None
                or old.has_changed()
                or old.fast_patterns != self._fast_patterns
            ):
                old = load_module(path, fast_patterns=self._fast_patterns)
            self._modules[path] = old
        return self._modules[path]


def names_rules(configuration: Configuration) -> bool:
    """Return whether a configuration names any file of rules."""
    settings = configuration.settings
    paths: list[str | None] = [
        settings.routing_rules_py_module_file,
        settings.rewrite_query_py_module_file,
    ]
    for spec in configuration.databases.values():
        paths += spec.routing_rules_py_module_file, spec.rewrite_query_py_module_file
    return any(path not in (None, "", OFF) for path in paths)


def _has_own(spec: DatabaseSpec) -> bool:
    return (
        spec.routing_rules_py_module_file is not None
        or spec.rewrite_query_py_module_file is not None
        or spec.rewrite_query_disconnect_on_failure is not None
    )
