"""Stored secrets and how a password is compared with them.

A secret is what ``auth_file``, ``auth_query`` or ``password=`` hold: clear text, an
MD5 digest, or a SCRAM verifier, told apart as PostgreSQL does. No comparison here
tells by its time how much was right, and no repr shows a secret.
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
        """Return the secret that the text is: what fits no other form is clear."""
        if _MD5.fullmatch(text) is not None:
            return cls(SecretKind.MD5, text)
        verifier = ScramVerifier.parse(text)
        if verifier is not None:
            return cls(SecretKind.SCRAM, text, verifier)
        return cls(SecretKind.PLAIN, text)

    def __bool__(self) -> bool:
        """Whether there is anything: an empty secret never matches."""
        return bool(self.value)


_NOBODYS: Final = Secret(SecretKind.PLAIN, "")
"""Stands for what an unknown user has, and is compared with in vain."""


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

    Never for an unknown user (None), which is found out by as much work.
    """
    expected = md5_answer(secret or _NOBODYS, user, salt)
    is_right = expected is not None and compare_digest(expected, answer)
    return bool(secret) and is_right


def check_plain(
    secret: Secret | None,
    user: str,
    password: str,
    decoy: ScramVerifier | None = None,
) -> bool:
    """Whether a clear password is right; never for an unknown user (None).

    Costs the iterations of the verifier if the secret is a SCRAM one. Where ``decoy``
    is given, any other secret costs as much, so that the time does not tell who has
    which, or is unknown.
    """
    if secret is not None and secret.verifier is not None:
        return matches(secret.verifier, password)
    if decoy is not None:
        matches(decoy, password)
    if not secret or not password:
        return False
    given = password if secret.kind is SecretKind.PLAIN else md5_secret(user, password)
    return compare_digest(_raw(given), _raw(secret.value))
