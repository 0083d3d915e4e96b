"""What a reload does with a new configuration: servers to replace, settings to keep."""

from __future__ import annotations

from dataclasses import replace

from pgswitch.config.model import SETTINGS, Configuration, DatabaseSpec, Settings

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
"""Keys of a database whose change requires new server connections."""

RECYCLING_PREFIX = "server_tls"
"""Prefix of the settings whose change requires new connections to every server."""


def needs_reconnect_all(old: Settings, new: Settings) -> bool:
    """Return whether the servers of all databases must be replaced."""
    return any(
        getattr(old, name) != getattr(new, name)
        for name in SETTINGS
        if name.startswith(RECYCLING_PREFIX)
    )


def needs_reconnect(old: DatabaseSpec, new: DatabaseSpec) -> bool:
    """Return whether the servers of one database must be replaced."""
    return any(getattr(old, key) != getattr(new, key) for key in RECYCLING_KEYS)


def carried_over(old: Configuration, new: Configuration) -> Configuration:
    """Return ``new``, with the old values of settings that only a restart changes."""
    unchanged = {
        name: getattr(old.settings, name)
        for name, about in SETTINGS.items()
        if not about.reloadable
    }
    return replace(new, settings=replace(new.settings, **unchanged))
