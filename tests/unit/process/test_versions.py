"""What runs here, in words."""

from __future__ import annotations

from pgswitch import __version__
from pgswitch.process import versions


def test_version_lines() -> None:
    """Tools compare the first line with the version of PgBouncer they know."""
    first, own, *rest = versions.version_lines()
    assert first == "PgBouncer 1.25.2"
    assert own.startswith(f"pgswitch {__version__} (Twisted ")
    assert [line.partition(":")[0] for line in rest] == [
        *("reactor", "hot path", "adns", "tls", "systemd")
    ]
    assert rest[3].startswith("tls: OpenSSL ")


def test_process_up_line() -> None:
    """The line that monitoring waits for names the reactor in use."""

    class EPollReactor:
        """As Twisted's in name."""

    line = versions.process_up_line(EPollReactor())
    start = f"process up: PgBouncer 1.25.2, pgswitch {__version__}, twisted "
    assert line.startswith(start)
    assert " (epoll), adns: threads, tls: OpenSSL " in line
