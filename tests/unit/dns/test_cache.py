"""What is kept of names: for how long, in which order, what has gone."""

from __future__ import annotations

from pgswitch.dns.cache import NameCache

NOW = 100.0
LATER = 115.0
BOTH = ("10.0.0.1", "10.0.0.2")


def test_unknown() -> None:
    """A name never asked for has to be looked up."""
    assert NameCache().fresh("db", NOW) is None


def test_in_turn() -> None:
    """Each call begins with the next address; an address said twice is one."""
    cache = NameCache()
    cache.answered("db", [*BOTH, "10.0.0.1"], LATER)
    firsts = [(cache.fresh("db", NOW) or ("",))[0] for _ in range(3)]
    assert firsts == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]
    assert cache.fresh("db", NOW) == ("10.0.0.2", "10.0.0.1")


def test_until() -> None:
    """Then the name is looked up again; the old answer can still be had."""
    cache = NameCache()
    cache.answered("db", BOTH[:1], LATER)
    assert cache.fresh("db", LATER) is None
    assert cache.next("db") == BOTH[:1]


def test_what_has_gone() -> None:
    """Addresses of the last answer that the new one lacks, also past failures."""
    cache = NameCache()
    assert cache.answered("db", BOTH, LATER) == frozenset()
    assert cache.answered("db", BOTH[::-1], LATER) == frozenset()
    cache.failed("db", LATER, is_certain=True)
    assert cache.answered("db", ["10.0.0.2", "10.0.0.3"], LATER) == {"10.0.0.1"}


def test_no_such_name() -> None:
    """A definite failure is cached, whatever was known before."""
    cache = NameCache()
    cache.answered("db", BOTH, NOW)
    cache.failed("db", LATER, is_certain=True)
    assert cache.fresh("db", NOW) == ()
    assert cache.fresh("db", LATER) is None


def test_no_answer() -> None:
    """While the name service is silent the last addresses are used on."""
    cache = NameCache()
    cache.failed("db", LATER, is_certain=False)
    assert cache.fresh("db", NOW) == ()
    cache.answered("db", BOTH, NOW)
    cache.failed("db", LATER, is_certain=False)
    assert cache.fresh("db", NOW) == BOTH


def test_rows() -> None:
    """By name, with the seconds left; a missing name has no address."""
    cache = NameCache()
    cache.answered("b", BOTH, LATER)
    cache.failed("a", NOW + 3, is_certain=True)
    assert list(cache.rows(NOW + 4)) == [("a", 0.0, ()), ("b", 11.0, BOTH)]
    assert len(cache) == 2
