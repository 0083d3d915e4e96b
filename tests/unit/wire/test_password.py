"""Tests of pgswitch/wire/password.py."""

from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.compiled import is_compiled
from pgswitch.wire import password as p
from pgswitch.wire import scram

VERIFIER = str(scram.make_verifier("pencil", b"salt", 1))
MD5 = "md5" + md5(b"pencilbob").hexdigest()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("pencil", p.SecretKind.PLAIN),
        ("", p.SecretKind.PLAIN),
        (MD5, p.SecretKind.MD5),
        (MD5.upper(), p.SecretKind.PLAIN),
        (MD5 + "0", p.SecretKind.PLAIN),
        (MD5[:-1], p.SecretKind.PLAIN),
        (MD5 + "\n", p.SecretKind.PLAIN),
        ("md5" + "g" * 32, p.SecretKind.PLAIN),
        (VERIFIER, p.SecretKind.SCRAM),
        (VERIFIER[:-1], p.SecretKind.PLAIN),
        ("SCRAM-SHA-256$", p.SecretKind.PLAIN),
    ],
)
def test_kinds(text: str, kind: p.SecretKind) -> None:
    """The form of a stored secret tells its kind, all else is clear text."""
    secret = p.Secret.of(text)
    assert secret.kind is kind
    assert secret.value == text
    assert (secret.verifier is not None) is (kind is p.SecretKind.SCRAM)


def test_md5_secret_is_postgresqls() -> None:
    """The digest is over password and user."""
    assert p.md5_secret("bob", "pencil") == MD5


@pytest.mark.parametrize("stored", ["pencil", MD5, VERIFIER])
@pytest.mark.parametrize("given_", ["pencil", "pencils", ""])
def test_check_plain(stored: str, given_: str) -> None:
    """A clear password fits every kind of secret, and only the right one does."""
    secret = p.Secret.of(stored)
    assert p.check_plain(secret, "bob", given_) is (given_ == "pencil")


def test_md5_belongs_to_its_user() -> None:
    """The same password of another user has another digest."""
    assert not p.check_plain(p.Secret.of(MD5), "alice", "pencil")


@pytest.mark.parametrize("stored", ["pencil", MD5])
def test_check_md5(stored: str) -> None:
    """A salted answer fits clear and MD5 secrets; user, salt and answer matter."""
    secret = p.Secret.of(stored)
    answer = b"md5" + md5(MD5[3:].encode() + b"salt").hexdigest().encode()
    assert p.md5_answer(secret, "bob", b"salt") == answer
    assert p.check_md5(secret, "bob", b"salt", answer)
    assert not p.check_md5(secret, "bob", b"pepp", answer)
    assert not p.check_md5(secret, "bob", b"salt", answer[:-1])
    assert not p.check_md5(secret, "bob", b"salt", b"")
    assert not p.check_md5(p.Secret.of("other"), "bob", b"salt", answer)


def test_md5_cannot_use_a_scram_secret() -> None:
    """There is no MD5 answer from a verifier."""
    secret = p.Secret.of(VERIFIER)
    assert p.md5_answer(secret, "bob", b"salt") is None
    assert not p.check_md5(secret, "bob", b"salt", b"")


def test_empty_secret_never_matches() -> None:
    """A user without a password cannot log in by one."""
    empty = p.Secret.of("")
    answer = p.md5_answer(empty, "bob", b"salt")
    assert answer is not None
    assert not p.check_plain(empty, "bob", "")
    assert not p.check_md5(empty, "bob", b"salt", answer)
    assert not empty


@pytest.mark.parametrize("stored", ["pencil", MD5, VERIFIER])
def test_repr_shows_no_secret(stored: str) -> None:
    """A secret in a log line shows its kind alone."""
    shown = repr(p.Secret.of(stored))
    assert stored not in shown
    assert "salt" not in shown


@given(st.text(max_size=10), st.text(max_size=10), st.binary(max_size=10))
def test_any_text_can_be_compared(stored: str, user: str, raw: bytes) -> None:
    """Passwords need not be ASCII, nor UTF-8."""
    given_ = raw.decode("utf-8", "surrogateescape")
    try:
        expected = stored == given_ != ""
        assert p.check_plain(p.Secret.of(stored), user, given_) is expected
    except UnicodeEncodeError:
        assert any("\ud800" <= letter <= "\udfff" for letter in stored + user)


@pytest.mark.skipif(is_compiled(), reason="compiled calls cannot be counted")
def test_md5_of_an_unknown_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fits, by no less work than for a user; an empty secret fits nothing."""
    done: list[str] = []
    real = p.md5_answer

    def counted(secret: p.Secret, user: str, salt: bytes) -> bytes | None:
        done.append(user)
        return real(secret, user, salt)

    monkeypatch.setattr(p, "md5_answer", counted)
    empty = p.Secret.of("")
    answer = real(empty, "bob", b"salt")
    assert answer is not None
    for secret in (None, empty):
        assert not p.check_md5(secret, "bob", b"salt", answer)
    assert done == ["bob", "bob"]
