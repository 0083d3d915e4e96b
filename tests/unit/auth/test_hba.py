"""Which rule a client falls under."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgswitch.auth.hba import (
    NEEDS_NAMES,
    ConnectionInfo,
    HbaRule,
    IpAddress,
    SameNet,
    decide,
    plain_address,
)
from pgswitch.auth.hba_file import read_hba

TCP = ConnectionInfo(database="db", user="bob", address=plain_address("192.0.2.7"))
UNIX = ConnectionInfo(database="db", user="bob")
HERE = "192.0.2.7"


def is_near(near: SameNet, address: IpAddress) -> bool:
    """Tell that one address is ours, and the one after it is in our network."""
    known = {HERE} if near is SameNet.SAMEHOST else {HERE, "192.0.2.8"}
    return str(address) in known


def decided(text: str, connection_info: ConnectionInfo) -> object:
    """Return the line of the rule that fits, None, or NEEDS_NAMES."""
    found = read_hba("hba", lambda _: text, {})
    assert found.problems == []
    rule = decide(found.rules, connection_info, is_near)
    return rule.line if isinstance(rule, HbaRule) else rule


@pytest.mark.parametrize(
    ("line", "connection_info", "fits"),
    [
        ("local all all trust", UNIX, True),
        ("local all all trust", TCP, False),
        ("host all all all trust", UNIX, False),
        ("host all all all trust", TCP, True),
        ("host all all all trust", replace(TCP, is_tls=True), True),
        ("hostssl all all all trust", TCP, False),
        ("hostssl all all all trust", replace(TCP, is_tls=True), True),
        ("hostnossl all all all trust", TCP, True),
        ("hostnossl all all all trust", replace(TCP, is_tls=True), False),
        ("local db all trust", UNIX, True),
        ("local x,db all trust", UNIX, True),
        ("local other all trust", UNIX, False),
        ("local sameuser all trust", UNIX, False),
        ("local sameuser all trust", replace(UNIX, database="bob"), True),
        ('local "sameuser" all trust', replace(UNIX, database="bob"), False),
        ('local "all" all trust', UNIX, False),
        ("local /^d all trust", UNIX, True),
        ('local "/^d" all trust', UNIX, False),
        ("local all bob trust", UNIX, True),
        ("local all alice,bob trust", UNIX, True),
        ("local all bobby trust", UNIX, False),
        (r"local all /^b.b$ trust", UNIX, True),
        ("local all all trust", replace(UNIX, is_physical=True), False),
        ("local replication all trust", replace(UNIX, is_physical=True), True),
        ("local db,replication all trust", replace(UNIX, is_physical=True), True),
        ("local replication all trust", UNIX, False),
        ('local "replication" all trust', replace(UNIX, is_physical=True), False),
        ("host all all 192.0.2.0/24 trust", TCP, True),
        ("host all all 192.0.2.0 255.255.255.0 trust", TCP, True),
        ("host all all 192.0.2.0 255.0.255.0 trust", TCP, True),
        ("host all all 192.0.2.9/24 trust", TCP, True),
        ("host all all 192.0.3.0/24 trust", TCP, False),
        ("host all all 192.0.2.7/32 trust", TCP, True),
        ("host all all 0.0.0.0/0 trust", TCP, True),
        ("host all all ::/0 trust", TCP, False),
        ("host all all ::ffff:192.0.2.7/128 trust", TCP, True),
        ("host all all ::ffff:192.0.2.0/120 trust", TCP, True),
        ("host all all ::ffff:192.0.2.8/128 trust", TCP, False),
        ("host all all ::ffff:0.0.0.0/96 trust", TCP, True),
        ("host all all ::FFFF:C000:200/120 trust", TCP, True),
        (
            f"host all all ::ffff:192.0.2.0 {'ffff:' * 7}ff00 trust",
            TCP,
            True,
        ),
        (
            "host all all ::ffff:192.0.2.7/128 trust",
            replace(TCP, address=plain_address("::ffff:192.0.2.7")),
            True,
        ),
        (
            "host all all ::ffff:0.0.0.0/96 trust",
            replace(TCP, address=plain_address("::1")),
            False,
        ),
        ("host all all ::/0 trust", replace(TCP, address=plain_address("::1")), True),
        ("host all all samehost trust", TCP, True),
        (
            "host all all samehost trust",
            replace(TCP, address=plain_address("192.0.2.8")),
            False,
        ),
        (
            "host all all samenet trust",
            replace(TCP, address=plain_address("192.0.2.8")),
            True,
        ),
        (
            "host all all good.example trust",
            replace(TCP, names=("good.example",)),
            True,
        ),
        (
            "host all all Good.Example trust",
            replace(TCP, names=("gOOD.example",)),
            True,
        ),
        ("host all all .example trust", replace(TCP, names=("a.b.example",)), True),
        ("host all all .example trust", replace(TCP, names=("bexample",)), False),
        ("host all all good.example trust", replace(TCP, names=("x.example",)), False),
        ("host all all good.example trust", replace(TCP, names=()), False),
    ],
)
def test_one_line(line: str, connection_info: ConnectionInfo, *, fits: bool) -> None:
    """Each word of it counts."""
    assert (decided(line, connection_info) == 1) is fits


def test_the_first_that_fits() -> None:
    """Decides, be it a rejection."""
    text = "local x all trust\nlocal all bob reject\nlocal all all trust"
    assert decided(text, UNIX) == 2
    assert decided(text, replace(UNIX, user="eve")) == 3
    assert decided("", UNIX) is None


def test_names_are_looked_up_when_they_count() -> None:
    """Not for a rule that fails by another field, nor after one that matches."""
    assert decided("host all all h.example trust", TCP) is NEEDS_NAMES
    assert decided("host other all h.example trust", TCP) is None
    assert decided("host all all all trust\nhost all all h.example md5", TCP) == 1


@pytest.mark.parametrize(
    ("text", "plain"),
    [("::ffff:192.0.2.1", "192.0.2.1"), ("fe80::1%eth0", "fe80::1"), ("::1", "::1")],
)
def test_addresses(text: str, plain: str) -> None:
    """Have no zone, and are IPv4 where they hold one."""
    assert str(plain_address(text)) == plain
