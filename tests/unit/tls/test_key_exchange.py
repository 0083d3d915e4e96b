"""Groups that keys are agreed by, with and without the libraries' newest parts."""

from __future__ import annotations

import pytest
from OpenSSL import SSL

from pgswitch.tls.contexts import SINGLE_CURVES, GroupsError, set_groups


class OldBinding:
    """A cryptography that cannot set a list."""


def context() -> SSL.Context:
    """Return a context without groups of its own."""
    return SSL.Context(SSL.TLS_METHOD)


@pytest.mark.parametrize("names", ["X25519", "x25519:P-256", "secp384r1", "X448"])
def test_names(names: str) -> None:
    """Whatever OpenSSL knows, in any case of letters."""
    set_groups(context(), names)


@pytest.mark.parametrize("names", ["nonsense", "X25519:", "X25519:nonsense", "a b"])
def test_unknown(names: str) -> None:
    """They are refused, and leave no error in OpenSSL's queue for the next call."""
    with pytest.raises(GroupsError, match="unknown curve"):
        set_groups(context(), names)
    with pytest.raises(SSL.Error) as refused:
        context().set_cipher_list(b"nonsense")
    assert len(refused.value.args[0]) == 1


@pytest.mark.parametrize("name", [*SINGLE_CURVES, "P-256"])
def test_older_libraries(name: str) -> None:
    """One curve of those that have always worked still does."""
    set_groups(context(), name, OldBinding())


@pytest.mark.parametrize("names", ["X25519", "prime256v1:secp384r1"])
def test_what_older_libraries_cannot(names: str) -> None:
    """It is said, with what they can."""
    with pytest.raises(GroupsError, match="can do only one of prime256v1, "):
        set_groups(context(), names, OldBinding())
