"""What clients have to show: by the setting, or by their rule in the HBA file."""

from __future__ import annotations

import socket

import pytest

from pgswitch.auth import hba_policy, ldap
from pgswitch.auth.hba import SameNet, plain_address
from pgswitch.auth.ldap import parse_ldap
from tests.fakes.messages import message
from tests.fakes.world import World, WorldOf

HBA = "auth_type = hba\n"


LDAP = 'ldapserver=a ldapprefix="uid="'
OTHER = 'ldapserver=b ldapprefix="uid="'
LDAP_SET = f"auth_ldap_options = {OTHER}"


def with_files(world_of: WorldOf, hba: str, ident: str = "", more: str = "") -> World:
    """Return a world with these files."""
    world = world_of()
    (world.folder / "hba").write_text(hba)
    (world.folder / "ident").write_text(ident)
    settings = f"auth_hba_file = {world.folder}/hba\n"
    if ident:
        settings += f"auth_ident_file = {world.folder}/ident\n"
    assert world.reload(settings=HBA + settings + more)
    return world


@pytest.mark.parametrize(
    ("hba", "fault"),
    [
        ("host db app all trust", ""),
        ("host db app 192.0.2.1/32 reject\nhost all all all trust", "login rejected"),
        ("host other all all trust", "no authentication method is found"),
        ("", "no authentication method is found"),
        ("hostssl all all all trust", "no authentication method is found"),
    ],
)
def test_rules(world_of: WorldOf, hba: str, fault: str) -> None:
    """The first that fits decides; none is no."""
    world = with_files(world_of, hba)
    assert world.client().fault == fault


def test_the_console_needs_a_rule_too(world_of: WorldOf) -> None:
    """An admin is checked like any user."""
    world = with_files(world_of, "host db all all trust")
    fault = world.client("pgbouncer", "admin").fault
    assert fault == "no authentication method is found"


def test_lines_that_are_none(world_of: WorldOf) -> None:
    """Are logged; the rest is valid."""
    world = with_files(world_of, "host all\nhost all all all trust", "m a\nm a b")
    assert world.logged("WARNING could not parse hba config line 1")
    assert world.logged("WARNING could not parse ident config line 1")
    assert world.client().state() == "waiting"


def test_a_method_that_lets_no_client_in(world_of: WorldOf) -> None:
    """Is logged at the start and at a reload; its clients learn little."""
    world = with_files(world_of, "host all all all cert")
    assert world.logged("WARNING nobody can log in by the lines of auth_hba_file that")
    assert world.client().fault == "certificate authentication failed"


@pytest.mark.parametrize("name", ["auth_hba_file", "auth_ident_file"])
def test_a_missing_file(world_of: WorldOf, name: str) -> None:
    """Lets no client in, and is logged."""
    world = world_of(settings=f"{HBA}{name} = /nowhere/at/all")
    assert world.logged("/nowhere/at/all")
    assert world.client().fault == "no authentication method is found"


@pytest.mark.parametrize("rest", ["", LDAP])
def test_a_line_that_says_ldap(
    world_of: WorldOf, monkeypatch: pytest.MonkeyPatch, rest: str
) -> None:
    """Has options of its own, else those of auth_ldap_options."""
    asked: list[object] = []

    def check(options: object, *_: object) -> bool:
        asked.append(options)
        return True

    monkeypatch.setattr(ldap, "check", check)
    world = with_files(world_of, f"host all all all ldap {rest}", more=f"\n{LDAP_SET}")
    client = world.client()
    client.say(message(b"p", b"secret\0"))
    assert asked == [parse_ldap(rest or OTHER)]


def test_reload(world_of: WorldOf) -> None:
    """Reads the files again."""
    world = with_files(world_of, "host all all all reject")
    assert world.client().fault == "login rejected"
    (world.folder / "hba").write_text("host all all all trust")
    world.service.reload()
    assert world.client().state() == "waiting"


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (("good.example",), ""),
        ((), "no authentication method is found"),
        (None, "no authentication method is found"),
    ],
)
def test_names_of_hosts(
    world_of: WorldOf,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...] | None,
    fault: str,
) -> None:
    """Host names are resolved in a thread; a failed lookup matches no name."""
    asked: list[str] = []

    def reverse_lookup(address: str) -> tuple[str, ...] | None:
        asked.append(address)
        return names

    monkeypatch.setattr(hba_policy, "reverse_lookup", reverse_lookup)
    world = with_files(world_of, "host all all good.example trust")
    assert world.client().fault == fault
    assert asked == ["192.0.2.1"]


@pytest.mark.parametrize(
    ("address", "host", "net"),
    [
        ("127.0.0.1", True, True),
        ("127.9.9.9", False, True),
        ("203.0.113.9", False, False),
    ],
)
def test_near(address: str, *, host: bool, net: bool) -> None:
    """Loopback is our own, its network near, a documentation address neither."""
    known = plain_address(address)
    assert hba_policy.is_near(SameNet.SAMEHOST, known) is host
    assert hba_policy.is_near(SameNet.SAMENET, known) is net


def answers(monkeypatch: pytest.MonkeyPatch, name: str | None, *back: str) -> None:
    """Have the name service say so."""

    def getnameinfo(address: tuple[str, int], flags: int) -> tuple[str, str]:
        assert flags & socket.NI_NAMEREQD
        if name is None:
            raise socket.gaierror(socket.EAI_NONAME, "no name")
        return name, str(address[1])

    def getaddrinfo(asked: str, _port: None, **_: object) -> list[tuple[object, ...]]:
        assert asked == name
        return [(0, 0, 0, "", (one, 0)) for one in back]

    monkeypatch.setattr(socket, "getnameinfo", getnameinfo)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name counts when it resolves back: owning the address alone proves nothing."""
    answers(monkeypatch, "a.example", "192.0.2.1", "192.0.2.7")
    assert hba_policy.reverse_lookup("192.0.2.7") == ("a.example",)
    answers(monkeypatch, "forged.example", "192.0.2.1")
    assert hba_policy.reverse_lookup("192.0.2.7") == ()
    answers(monkeypatch, None)
    assert hba_policy.reverse_lookup("192.0.2.7") == ()
