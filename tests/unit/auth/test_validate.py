"""What is found before anybody tries to log in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgswitch.auth import ldap, pam, validate
from pgswitch.config.model import Settings
from pgswitch.types import AuthType


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
    assert len(validate.problems(settings)) == count


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
    validate.preload(replace(Settings(), auth_type=kind))
    assert seen == brought


def test_the_libraries_are_there() -> None:
    """Where the tests run."""
    for kind in (AuthType.PAM, AuthType.LDAP):
        assert validate.problems(replace(Settings(), auth_type=kind)) == []
