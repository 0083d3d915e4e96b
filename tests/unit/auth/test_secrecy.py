"""No secret is in what a manhole, a debugger or a traceback shows of our objects."""

from __future__ import annotations

import gc

import pytest

from pgswitch.auth import ldap
from pgswitch.wire import encode, scram
from tests.fakes.messages import message
from tests.fakes.world import WorldOf

MARK = "Xy7MARKED"
"""In every secret of this test."""
VERIFIER = scram.make_verifier(MARK, b"0123456789abcdef", 1)
SECRETS = (
    MARK,
    VERIFIER.stored_key.hex(),
    str(VERIFIER)[-20:],
    str(VERIFIER.stored_key),
)
LDAP = f'ldapserver=a ldapbasedn="dc=x" ldapbinddn=b ldapbindpasswd={MARK}'


def shown() -> dict[str, str]:
    """Return the repr of every live pgswitch object, by its class."""
    found: dict[str, str] = {}
    for thing in gc.get_objects():
        kind = type(thing)
        if str(kind.__module__).startswith("pgswitch"):
            name = f"{kind.__module__}.{kind.__qualname__}"
            found[name] = found.get(name, "") + repr(thing)
    return found


def told(texts: dict[str, str]) -> list[str]:
    """Return the classes whose texts have a secret in them."""
    return [name for name, text in texts.items() if any(one in text for one in SECRETS)]


@pytest.mark.parametrize("kind", ["plain", "md5", "scram-sha-256", "hba", "ldap"])
def test_reprs(world_of: WorldOf, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Of logins under way and done, right and wrong, and all that they are made of."""
    monkeypatch.setattr(ldap, "check", lambda *_: True)
    world = world_of(databases=f"db = host=10.0.0.1 user=owner password={MARK}")
    users = f'"app" "{MARK}"\n"stored" "{VERIFIER}"\n"admin" ""\n'
    (world.folder / "users.txt").write_text(users)
    (world.folder / "hba").write_text(f"host all all all ldap {LDAP}\n")
    world.reload(
        settings=f"auth_type = {kind}\nauth_ldap_options = {LDAP}\n"
        f"auth_hba_file = {world.folder}/hba",
        databases=f"db = host=10.0.0.1 user=owner password={MARK}\nown = host=h",
    )
    world.wait(1)
    clients = []
    for user in ("app", "stored", "nobody"):
        for database in ("db", "own"):
            client = world.client(database, user)
            clients.append(client)
            question = client.hear()
            if question[:9].endswith(b"\x0a"):
                first = encode.sasl_initial_response("SCRAM-SHA-256", b"n,,n=,r=a")
                client.say(first)
            else:
                client.say(message(b"p", f"{MARK}\0".encode()))
    assert told(shown()) == []
    while world.attempts:
        world.accept().say(encode.auth_cleartext())
    assert told({"log": "\n".join(world.log)}) == []
    texts = shown()
    assert told(texts) == []
    for name in ("wire.password.Secret", "config.model.DatabaseSpec"):
        assert f"pgswitch.{name}" in texts, "the test looks at nothing"
