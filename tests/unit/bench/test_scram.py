"""The poolers of the loads with passwords."""

from __future__ import annotations

from bench.contenders import INI, Contender
from bench.scram import by_scram
from bench.wire import PASSWORD
from pgswitch.wire.password import Secret, SecretKind
from pgswitch.wire.scram import matches


def test_who_takes_part() -> None:
    """Poolers that read our ini file, with a verifier for the one password."""
    names = ("pgswitch", "interpreted", "pgbouncer", "haproxy", "another")
    racers = [Contender(name, ["x", "{file}"]) for name in names]
    found = by_scram(racers)
    assert [one.name for one in found] == ["pgswitch", "pgbouncer", "another"]
    assert "auth_type = scram-sha-256\n" in found[0].template
    assert "trust" in INI
    secret = Secret.of(found[0].secret)
    assert secret.kind is SecretKind.SCRAM
    assert secret.verifier is not None
    assert matches(secret.verifier, PASSWORD)
