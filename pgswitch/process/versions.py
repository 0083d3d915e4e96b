"""Our versions: the texts of ``--version`` and of the log line ``process up``."""

from __future__ import annotations

import platform

from pgswitch import __version__
from pgswitch.compiled import is_compiled

REFERENCE = "PgBouncer 1.25.2"
"""The program and version whose behaviour we follow; tools take it for ours."""


def version_lines() -> list[str]:
    """Return the lines of ``--version``; tools read the first one."""
    return [
        REFERENCE,
        f"pgswitch {__version__} ({_platform()})",
        f"reactor: {_default_reactor()}",
        f"hot path: {_hot_path()}",
        f"adns: {_RESOLVER}",
        f"tls: {_tls_version()}",
        "systemd: yes",
    ]


def process_up_line(reactor: object) -> str:
    """Return the log line that says the service is ready."""
    name = type(reactor).__name__.removesuffix("Reactor").lower()
    return (
        f"process up: {REFERENCE}, pgswitch {__version__},"
        f" twisted {_twisted_version()} ({name}),"
        f" adns: {_RESOLVER}, tls: {_tls_version()}, hot path: {_hot_path()}"
    )


_RESOLVER = "threads"
"""The way host names are resolved: the system's resolver, called in threads."""


def _default_reactor() -> str:
    from pgswitch.net.reactor import best  # noqa: PLC0415 - only for one line

    return best()


def _hot_path() -> str:
    return "compiled" if is_compiled() else "interpreted"


def _platform() -> str:
    return f"Twisted {_twisted_version()}, Python {platform.python_version()}"


def _twisted_version() -> str:
    from twisted import __version__ as version  # noqa: PLC0415 - only for two lines

    return version


def _tls_version() -> str:
    from OpenSSL import SSL  # noqa: PLC0415 - slow to import, and seldom needed

    return str(SSL.OpenSSL_version(SSL.OPENSSL_VERSION), "ascii")
