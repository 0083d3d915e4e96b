"""Stored secrets, and the check of passwords against them.

A secret is what ``auth_file``, ``auth_query`` or ``password=`` contain: clear text, an
MD5 digest, or a SCRAM verifier, distinguished as PostgreSQL does.  All comparisons take
constant time, and no repr contains a secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from hashlib import md5
from hmac import compare_digest
from typing import Final, Self

from pgswitch.wire.scram import ScramVerifier, matches

_MD5 = re.compile(r"md5[0-9a-f]{32}", re.ASCII)
_PREFIX: Final = "md5"


class SecretKind(Enum):
    """Forms of a stored secret."""

    PLAIN = "plain"
    MD5 = "md5"
    SCRAM = "scram-sha-256"


@dataclass(frozen=True, slots=True)
class Secret:
    """A stored secret; make one with :meth:`of`."""

    kind: SecretKind
    value: str = field(repr=False)
    verifier: ScramVerifier | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the secret that the text is: clear text unless it has another form."""
        if _MD5.fullmatch(text) is not None:
            return cls(SecretKind.MD5, text)
        verifier = ScramVerifier.parse(text)
        if verifier is not None:
            return cls(SecretKind.SCRAM, text, verifier)
        return cls(SecretKind.PLAIN, text)

    def __bool__(self) -> bool:
        """Whether the secret is not empty: an empty one never matches."""
        return bool(self.value)


_NO_SECRET: Final = Secret(SecretKind.PLAIN, "")
"""Stands for the secret of an unknown user, and never matches."""


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def md5_secret(user: str, password: str) -> str:
    """Return the stored form of an MD5 password: ``md5`` and 32 digits."""
    salted = _raw(password) + _raw(user)
    return _PREFIX + md5(salted, usedforsecurity=False).hexdigest()


def md5_answer(secret: Secret, user: str, salt: bytes) -> bytes | None:
    """Return the answer to a salted MD5 request, None if the secret is a SCRAM one.

    (Manual, "Message Flow", AuthenticationMD5Password.)
    """
    if secret.kind is SecretKind.SCRAM:
        return None
    stored = secret.value
    if secret.kind is SecretKind.PLAIN:
        stored = md5_secret(user, stored)
    digits = stored.removeprefix(_PREFIX).encode()
    return b"md5" + md5(digits + salt, usedforsecurity=False).hexdigest().encode()


def check_md5(secret: Secret | None, user: str, salt: bytes, answer: bytes) -> bool:
    """Whether the answer to a salted MD5 request is right.

    Never for an unknown user (None); finding that out takes the same time.
    """
    expected = md5_answer(secret or _NO_SECRET, user, salt)
    is_right = expected is not None and compare_digest(expected, answer)
    return bool(secret) and is_right


def check_plain(
    secret: Secret | None,
    user: str,
    password: str,
    decoy: ScramVerifier | None = None,
) -> bool:
    """Whether a clear password is right; never for an unknown user (None).

    A SCRAM secret costs the iterations of its verifier.  With ``decoy`` any other
    secret costs as much, so that the time does not show which kind of secret a user
    has, or that it is unknown.
    """
    if secret is not None and secret.verifier is not None:
        return matches(secret.verifier, password)
    if decoy is not None:
        matches(decoy, password)
    if not secret or not password:
        return False
    sent = password if secret.kind is SecretKind.PLAIN else md5_secret(user, password)
    return compare_digest(_raw(sent), _raw(secret.value))
