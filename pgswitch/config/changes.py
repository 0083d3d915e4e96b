"""What a new configuration changes, and what of it a running service takes over."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pgswitch.config.model import SETTINGS, Configuration, DatabaseSpec

RECYCLING_KEYS = (
    "dbname",
    "host",
    "port",
    "user",
    "connect_query",
    "auth_dbname",
    "auth_query",
    "load_balance_hosts",
    "sslnegotiation",
    "server_tls_sslmode",
    "server_tls_ca_file",
    "server_tls_cert_file",
    "server_tls_key_file",
    "server_tls_protocols",
    "server_tls_ciphers",
    "server_tls13_ciphers",
    "server_tls_ecdhcurve",
)
"""Keys of a database whose change makes its present server connections unfit."""

RECYCLING_PREFIX = "server_tls"
"""Beginning of the settings whose change makes every server connection unfit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The difference between two configurations; all are names.

    ``databases_recycled`` are those whose present servers must be closed once they are
    free; ``settings`` are those that change at once, ``boot_only`` those that need a
    restart and so stay as they are.
    """

    databases_added: frozenset[str]
    databases_removed: frozenset[str]
    databases_recycled: frozenset[str]
    settings: frozenset[str]
    boot_only: frozenset[str]

    @property
    def needs_reconnect_all(self) -> bool:
        """Whether the servers of every database must be closed once they are free."""
        return any(name.startswith(RECYCLING_PREFIX) for name in self.settings)


def changes(old: Configuration, new: Configuration) -> Changes:
    """Return what ``new`` changes relative to ``old``."""
    before, after = old.databases.keys(), new.databases.keys()
    changed = frozenset(
        name
        for name in SETTINGS
        if getattr(old.settings, name) != getattr(new.settings, name)
    )
    return Changes(
        databases_added=frozenset(after - before),
        databases_removed=frozenset(before - after),
        databases_recycled=frozenset(
            name
            for name in before & after
            if needs_reconnect(old.databases[name], new.databases[name])
        ),
        settings=frozenset(name for name in changed if SETTINGS[name].reloadable),
        boot_only=frozenset(name for name in changed if not SETTINGS[name].reloadable),
    )


def needs_reconnect(old: DatabaseSpec, new: DatabaseSpec) -> bool:
    """Return whether servers made for ``old`` are unfit for ``new``."""
    return any(getattr(old, key) != getattr(new, key) for key in RECYCLING_KEYS)


def carried_over(old: Configuration, new: Configuration) -> Configuration:
    """Return ``new`` with the settings that only a restart changes as in ``old``."""
    kept = {
        name: getattr(old.settings, name)
        for name, about in SETTINGS.items()
        if not about.reloadable
    }
    return replace(new, settings=replace(new.settings, **kept))
