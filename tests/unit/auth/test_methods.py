"""Logins by each method, from the client's side."""

from __future__ import annotations

import os
import pwd
from dataclasses import replace

import pytest

from pgswitch.auth import ldap, methods, pam
from pgswitch.auth.methods import _CACHE_LIMIT
from pgswitch.auth.user_lookup import AuthQueryKey, User
from pgswitch.config.model import Settings
from pgswitch.net.frontend import Frontend
from pgswitch.tls.certificates import TlsFacts
from pgswitch.types import Address, AuthType
from pgswitch.wire import encode
from pgswitch.wire.password import Secret
from pgswitch.wire.scram import make_verifier
from tests.fakes.messages import kinds, message
from tests.fakes.world import Client, World, WorldOf

VERIFIER = make_verifier("pencil", b"salt", 1)
PASSWORD = message(b"p", b"secret\0")
LDAP = 'auth_ldap_options = ldapserver=a ldapprefix="uid="'


def start(client: Client, user: str = "app") -> None:
    """Send the start-up packet."""
    client.say(encode.startup([("user", user), ("database", "db")]))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ("auth_type = pam", "PAM authentication failed"),
        (f"auth_type = ldap\n{LDAP}", "LDAP authentication failed"),
    ],
)
@pytest.mark.parametrize("right", [True, False])
def test_passwords_that_others_check(
    world_of: WorldOf,
    monkeypatch: pytest.MonkeyPatch,
    settings: str,
    text: str,
    *,
    right: bool,
) -> None:
    """The user need not be known to us; its password opens its servers."""
    for module in (ldap, pam):
        monkeypatch.setattr(module, "check", lambda *_: right)
    world = world_of(settings=settings)
    client = world.client(user="stranger")
    assert kinds(client.hear()) == "R"
    client.say(PASSWORD)
    if not right:
        assert client.fault == text
        return
    server = world.accept()
    server.hear()
    server.say(encode.auth_cleartext())
    assert server.hear() == PASSWORD


@pytest.mark.parametrize("kind", ["pam", f"ldap\n{LDAP}"])
@pytest.mark.parametrize("where", ["settings", "databases"])
def test_no_auth_user_beside(world_of: WorldOf, kind: str, where: str) -> None:
    """No user is looked up."""
    databases = "db = host=h" + (" auth_user=a" if where == "databases" else "")
    settings = f"auth_type = {kind}\n" + (
        "auth_user = a" if where == "settings" else ""
    )
    world = world_of(settings=settings, databases=databases)
    assert world.client().fault == "bouncer config error"


def test_no_ldap_options(world_of: WorldOf) -> None:
    """The client gets an error, as from PgBouncer."""
    world = world_of(settings="auth_type = ldap")
    assert world.client().fault == "auth_ldap_options is null"


def with_rule(world_of: WorldOf, rule: str, ident: str = "m one two") -> World:
    """Return a world with an HBA file of one line."""
    world = world_of()
    (world.folder / "hba").write_text(rule)
    (world.folder / "ident").write_text(ident)
    settings = (
        f"auth_type = hba\nauth_hba_file = {world.folder}/hba\n"
        f"auth_ident_file = {world.folder}/ident"
    )
    assert world.reload(settings=settings)
    return world


def on_unix(world: World, credentials: tuple[int, int] | None) -> Client:
    """Return a client on a unix socket, with what the kernel says of it."""
    client = world.connect()
    client.frontend.address = Address("unix", 0)
    client.frontend.credentials = credentials
    return client


@pytest.mark.parametrize(
    ("rule", "ident", "user", "fault"),
    [
        ("local all all peer", "m a b", "", ""),
        ("local all all peer", "m a b", "app", "unix socket login rejected"),
        ("local all all peer", "m a b", "nobody-here", "unix socket login rejected"),
        ("local all all peer map=m", "m ME app", "app", ""),
        ("local all all peer map=m", "m ME all", "other", ""),
        (
            "local all all peer map=m",
            "m other app",
            "app",
            "unix socket login rejected",
        ),
        (r"local all all peer map=m", r"m /^(..).* app", "app", ""),
    ],
)
def test_peer(world_of: WorldOf, rule: str, ident: str, user: str, fault: str) -> None:
    """The operating system names the peer of a unix socket."""
    me = pwd.getpwuid(os.geteuid()).pw_name
    world = with_rule(world_of, rule, ident.replace("ME", me))
    (world.folder / "users.txt").write_text(f'"{me}" ""\n"app" ""\n"other" ""\n')
    world.service.reload()
    client = on_unix(world, (1, os.geteuid()))
    start(client, user or me)
    assert client.fault == fault


def test_a_peer_without_credentials(world_of: WorldOf) -> None:
    """Without peer credentials the login is refused."""
    world = with_rule(world_of, "local all all peer")
    client = on_unix(world, None)
    start(client)
    assert client.fault == "unix socket login rejected"


@pytest.mark.parametrize(
    ("rule", "names", "user", "fault"),
    [
        ("cert", ("app",), "app", ""),
        ("cert", ("x.example", "app"), "app", ""),
        ("cert", ("other",), "app", "certificate authentication failed"),
        ("cert", (), "app", "certificate authentication failed"),
        ("cert", ("stranger",), "stranger", "certificate authentication failed"),
        ("cert map=m", ("app@example",), "app", ""),
        ("cert map=m", ("app@example",), "other", "certificate authentication failed"),
    ],
)
def test_cert(
    world_of: WorldOf, rule: str, names: tuple[str, ...], user: str, fault: str
) -> None:
    """A verified certificate names its user, by the map if there is one."""
    world = with_rule(world_of, f"host all all all {rule}", r"m /^(.*)@example$ \1")
    client = world.connect()
    assert isinstance(client.frontend, Frontend)
    client.frontend.tls = TlsFacts(description="TLSv1.3", peer_names=names)
    start(client, user)
    assert client.fault == fault


def test_cert_without_tls(world_of: WorldOf) -> None:
    """Without TLS no certificate exists: the login is refused."""
    world = with_rule(world_of, "host all all all cert")
    assert world.client().fault == "certificate authentication failed"


def test_binding(world_of: WorldOf) -> None:
    """Is offered where the client was shown a certificate."""
    world = world_of(settings="auth_type = scram-sha-256")
    client = world.connect()
    client.frontend.tls = TlsFacts(description="TLSv1.3", end_point=b"hash")
    start(client)
    assert b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0" in client.hear()


def test_the_work_of_a_login_reveals_no_user(world_of: WorldOf) -> None:
    """By SCRAM: many logins, mixed; none of them waits for a thread."""
    world = world_of()
    (world.folder / "users.txt").write_text('"app" "secret"\n"other" "more"\n')
    world.reload(settings="auth_type = scram-sha-256\nscram_iterations = 1000")
    world.wait(1)
    assert len(world.worked) == len(("app", "other"))
    world.worked.clear()
    told = set()
    for user in ("app", "nobody", "other", "stranger") * 5:
        client = world.client(user=user)
        client.hear()
        first = encode.sasl_initial_response("SCRAM-SHA-256", b"n,,n=,r=abc")
        client.say(first)
        challenge = client.hear()
        nonce = challenge[9:].split(b",")[0]
        client.say(encode.sasl_response(b"c=biws," + nonce + b",p=" + b"A" * 43 + b"="))
        told.add((len(challenge), client.fault))
    assert world.worked == []
    assert {fault for _size, fault in told} == {"SASL authentication failed"}
    assert len(told) == 1, "questions and answers are of one form"


def test_passwords_that_change_at_each_login(world: World) -> None:
    """As of auth_query: their verifiers are kept, but not for ever."""
    methods = world.service.login_service._methods
    asked = AuthQueryKey("db", "asker", "SELECT", "app")
    caches = []
    for number in range(_CACHE_LIMIT + 5):
        secret = Secret.of(f"token {number}")
        cache = methods._verifiers(User("app", secret, asked))
        cache["app", secret] = VERIFIER
        caches.append(len(cache))
    assert max(caches) == _CACHE_LIMIT
    assert caches[-1] == 5
    assert world.service.store.verifiers == {}


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        (Settings(), 0),
        (replace(Settings(), auth_type=AuthType.CERT), 2),
        (
            replace(
                Settings(),
                auth_type=AuthType.CERT,
                client_tls_sslmode="verify-full",
                client_tls_ca_file="ca",
            ),
            0,
        ),
        (replace(Settings(), auth_type=AuthType.PAM), 1),
        (replace(Settings(), auth_type=AuthType.LDAP), 1),
        (replace(Settings(), auth_ldap_options="nonsense"), 1),
    ],
)
def test_problems(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, count: int
) -> None:
    """Libraries that are missing, TLS that is off, options that are wrong."""
    monkeypatch.setattr(ldap, "is_available", lambda: False)
    monkeypatch.setattr(pam, "is_available", lambda: False)
    assert len(methods.problems(settings)) == count


@pytest.mark.parametrize(
    ("kind", "brought"),
    [
        (AuthType.MD5, []),
        (AuthType.LDAP, ["ldap"]),
        (AuthType.PAM, ["pam"]),
        (AuthType.HBA, ["ldap", "pam"]),
    ],
)
def test_what_is_brought(
    monkeypatch: pytest.MonkeyPatch, kind: AuthType, brought: list[str]
) -> None:
    """Before the process becomes another user; nothing that is of no use."""
    seen: list[str] = []
    monkeypatch.setattr(ldap, "is_available", lambda: seen.append("ldap"))
    monkeypatch.setattr(pam, "is_available", lambda: seen.append("pam"))
    methods.preload(replace(Settings(), auth_type=kind))
    assert seen == brought


def test_the_libraries_are_there() -> None:
    """Where the tests run."""
    for kind in (AuthType.PAM, AuthType.LDAP):
        assert methods.problems(replace(Settings(), auth_type=kind)) == []
