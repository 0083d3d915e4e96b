"""How PAM is asked; a real one is in tests/integration/test_pam.py."""

from __future__ import annotations

import pamela
import pytest

from pgswitch.auth import pam


class Handle:
    """What pam_start returns."""

    def __init__(self) -> None:
        """Begin without items."""
        self.items: dict[int, str] = {}

    def set_item(self, number: int, value: str) -> None:
        """Note it."""
        self.items[number] = value


@pytest.fixture
def handle(monkeypatch: pytest.MonkeyPatch) -> Handle:
    """Put a PAM in place that takes everything."""
    made = Handle()
    monkeypatch.setattr(pamela, "pam_start", lambda *_args, **_more: made)
    monkeypatch.setattr(pamela, "PAM_AUTHENTICATE", lambda *_: 0)
    monkeypatch.setattr(pamela, "PAM_ACCT_MGMT", lambda *_: 0)

    def end(_handle: Handle, status: int) -> None:
        if status:
            raise pamela.PAMError(errno=status)

    monkeypatch.setattr(pamela, "pam_end", end)
    return made


def test_a_good_password(handle: Handle) -> None:
    """PAM gets the client's address, if it has one."""
    assert pam.check("pgbouncer", "bob", "192.0.2.1", "secret")
    assert handle.items == {pamela.PAM_RHOST: "192.0.2.1"}
    handle.items.clear()
    assert pam.check("pgbouncer", "bob", "", "secret")
    assert handle.items == {}


@pytest.mark.parametrize("step", ["PAM_AUTHENTICATE", "PAM_ACCT_MGMT"])
def test_a_bad_one(handle: Handle, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Or an account that is locked."""
    monkeypatch.setattr(pamela, step, lambda *_: 7)
    assert not pam.check("pgbouncer", "bob", "", "secret")


@pytest.mark.parametrize(
    ("user", "password"), [("bob", ""), ("b\0b", "x"), ("b", "x\0")]
)
def test_not_even_asked(handle: Handle, user: str, password: str) -> None:
    """An empty password, and names that C would cut."""
    assert not pam.check("pgbouncer", user, "", password)
