"""Reading resolv.conf(5)."""

from __future__ import annotations

import pytest

from pgswitch.dns.lookup import LOCAL, ResolvConf, parse

WHOLE = """\
# comment
; comment
domain old.example
search one.example two.example.
nameserver 10.0.0.1
nameserver 127.0.0.1:5353
nameserver [::1]:54
nameserver 10.0.0.4
options ndots:2 timeout:3 attempts:4 rotate edns0
"""


def test_a_whole_file() -> None:
    """Three servers at most; the last of domain and search holds."""
    assert parse(WHOLE) == ResolvConf(
        servers=(("10.0.0.1", 53), ("127.0.0.1", 5353), ("::1", 54)),
        search=("one.example", "two.example"),
        ndots=2,
        timeout=3,
        attempts=4,
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nameserver",
        "nameserver db.example",
        "nameserver 10.0.0.1:dns",
        "options ndots: timeout attempts:x",
    ],
)
def test_nothing_of_use(text: str) -> None:
    """The local name server, and the defaults of the manual page."""
    conf = parse(text)
    assert conf == ResolvConf()
    assert conf.servers == LOCAL


def test_limits() -> None:
    """As resolv.conf(5) has them."""
    conf = parse("options ndots:99 timeout:99 attempts:99")
    assert (conf.ndots, conf.timeout, conf.attempts) == (15, 30, 5)
    conf = parse("options timeout:0 attempts:0")
    assert (conf.timeout, conf.attempts) == (1, 1)


def test_servers_by_address() -> None:
    """An IPv6 address without a port needs no brackets."""
    assert parse("nameserver fe80::1\nnameserver [::2]").servers == (
        ("fe80::1", 53),
        ("::2", 53),
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("db", ["db.a", "db.b", "db"]),
        ("db.x", ["db.x", "db.x.a", "db.x.b"]),
        ("db.x.", ["db.x"]),
    ],
)
def test_candidates(name: str, expected: list[str]) -> None:
    """Names with fewer dots than ndots are completed first."""
    assert ResolvConf(search=("a", "b")).candidates(name) == expected
