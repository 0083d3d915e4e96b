"""How directories are asked; a real one is in tests/integration/test_ldap.py."""

from __future__ import annotations

from typing import ClassVar

import ldap3
import pytest
from ldap3.core.exceptions import LDAPSocketOpenError
from twisted.internet.defer import Deferred, succeed
from twisted.names import client, dns

from pgswitch.auth import ldap
from pgswitch.auth.ldap import LdapOptions

USERS = {"uid=bob,dc=x": "secret", "cn=manager": "hush", "cn=bob": "secret"}
BIND = LdapOptions(servers=("a",), prefix="uid=", suffix=",dc=x")
SEARCH = LdapOptions(servers=("a",), base="dc=x")


class Directory:
    """In place of ldap3.Connection."""

    down: ClassVar[set[str]] = set()
    found: ClassVar[list[str]] = ["cn=bob"]
    asked: ClassVar[list[object]] = []

    def __init__(self, server: ldap3.Server, **_: object) -> None:
        """Note where."""
        self.asked.append((server.host, server.port))
        self.host = server.host
        self.response: list[dict[str, str]] | None = None

    def open(self) -> None:
        """Connect, unless the server is down."""
        if self.host in self.down:
            raise LDAPSocketOpenError("no")

    def start_tls(self) -> bool:
        """Refuse."""
        return False

    def rebind(self, name: str, password: str, **_: object) -> bool:
        """Log in."""
        self.asked.append(name)
        return USERS.get(name) == password

    def search(self, base: str, wanted: str, *, search_scope: str, **_: object) -> None:
        """Find what is set."""
        self.asked.append((base, wanted, search_scope))
        self.response = [{"type": "searchResEntry", "dn": name} for name in self.found]

    def unbind(self) -> None:
        """Leave."""
        self.asked.append("bye")


@pytest.fixture(autouse=True)
def directory(monkeypatch: pytest.MonkeyPatch) -> type[Directory]:
    """Put it in place."""
    monkeypatch.setattr(ldap3, "Connection", Directory)
    monkeypatch.setattr(Directory, "asked", [])
    monkeypatch.setattr(Directory, "down", set())
    monkeypatch.setattr(Directory, "found", ["cn=bob"])
    return Directory


def ask(options: LdapOptions, user: str = "bob", password: str = "secret") -> bool:
    """Ask; DNS has two servers for any domain."""
    return ldap.check(options, lambda _: [("dns1", 1), ("dns2", 2)], user, password)


def test_bind(directory: type[Directory]) -> None:
    """As prefix, name and suffix."""
    assert ask(BIND)
    assert directory.asked == [("a", 389), "uid=bob,dc=x", "bye"]
    assert not ask(BIND, password="wrong")
    assert not ask(BIND, user="eve")


def test_search(directory: type[Directory]) -> None:
    """Finds the user, then logs in as what was found."""
    assert ask(SEARCH)
    assert directory.asked[1:] == [("dc=x", "(uid=bob)", "SUBTREE"), "cn=bob", "bye"]
    assert not ask(SEARCH, password="wrong")


@pytest.mark.parametrize("found", [[], ["cn=bob", "cn=other"]])
def test_no_entry_or_several(
    monkeypatch: pytest.MonkeyPatch, directory: type[Directory], found: list[str]
) -> None:
    """Are not the user."""
    monkeypatch.setattr(directory, "found", found)
    assert not ask(SEARCH)
    assert "cn=bob" not in directory.asked


def test_as_whom_to_search(directory: type[Directory]) -> None:
    """Anonymously, or as ldapbinddn; if that is refused, so is the login."""
    options = LdapOptions(
        servers=("a",),
        base="dc=x",
        bind_dn="cn=manager",
        bind_password="hush",
        filter="(mail=$username)",
        scope="one",
    )
    assert ask(options)
    assert directory.asked[1:3] == ["cn=manager", ("dc=x", "(mail=bob)", "LEVEL")]
    wrong = LdapOptions(servers=("a",), base="dc=x", bind_dn="cn=manager")
    with pytest.raises(ldap.DirectoryError, match="ldapbinddn"):
        ask(wrong)


@pytest.mark.parametrize("user", ["*", "b*", "bob)(uid=*", "a\\2a", "a/b", "b\0"])
def test_names_that_change_a_search(directory: type[Directory], user: str) -> None:
    """Are refused unasked."""
    assert not ask(SEARCH, user=user)
    assert directory.asked == []


@pytest.mark.parametrize("options", [BIND, SEARCH])
def test_an_empty_password(directory: type[Directory], options: LdapOptions) -> None:
    """Would be an anonymous login, which succeeds; so it is refused unasked."""
    assert not ask(options, password="")
    assert directory.asked == []


def test_servers_in_order(
    monkeypatch: pytest.MonkeyPatch, directory: type[Directory]
) -> None:
    """The next one when one is down; a wrong password ends the matter."""
    options = LdapOptions(servers=("a", "b:1389", "::1"), prefix="uid=", suffix=",dc=x")
    monkeypatch.setattr(directory, "down", {"a"})
    assert ask(options)
    assert directory.asked[:2] == [("a", 389), ("b", 1389)]
    monkeypatch.setattr(directory, "down", {"a", "b", "::1"})
    with pytest.raises(ldap.DirectoryError, match="::1:389"):
        ask(options)


def test_servers_of_dns(directory: type[Directory]) -> None:
    """Where none is named, those of the base's domain."""
    assert ask(LdapOptions(base="dc=x"))
    assert directory.asked[0] == ("dns1", 1)


def test_start_tls_refused() -> None:
    """No password is sent unencrypted."""
    options = LdapOptions(servers=("a",), prefix="uid=", suffix=",dc=x", start_tls=True)
    with pytest.raises(ldap.DirectoryError, match="StartTLS"):
        ask(options)


def test_domains() -> None:
    """Of distinguished names."""
    assert ldap.domain_of("ou=x, dc=example,DC=net") == "example.net"


def test_the_best_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """By priority, then by weight; other records are not looked at."""
    asked: list[str] = []
    answers = [
        dns.RRHeader("x", dns.SRV, payload=dns.Record_SRV(priority, weight, 389, host))
        for priority, weight, host in ((9, 0, b"c"), (1, 1, b"b"), (1, 5, b"a"))
    ]
    answers.append(dns.RRHeader("x", dns.A, payload=dns.Record_A("192.0.2.1")))

    def look_up(name: str, _timeouts: object) -> Deferred[object]:
        asked.append(name)
        return succeed((answers, [], []))

    monkeypatch.setattr(client, "lookupService", look_up)
    monkeypatch.setattr(
        ldap, "blockingCallFromThread", lambda _, call, *args: call(*args).result
    )
    found = ldap.srv_finder(None)("example.net")
    assert found == [("a", 389), ("b", 389), ("c", 389)]
    assert asked == ["_ldap._tcp.example.net"]
