"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, both sides (RFC 5802, RFC 7677).

The server side holds a verifier (salt, iterations, StoredKey, ServerKey), never the
password; from a good proof it learns the ClientKey. The two keys together,
:class:`ScramKeys`, let us log in to a server that has the very same verifier: no
password is ever known here.  Nonces and salts are arguments; nothing is random.

Over TLS the PLUS form binds a login to the certificate that the server of the
connection has shown (``tls-server-end-point``, RFC 5929): who sits in between and
shows another one cannot pass the login on. Whether it is used is told inside what the
proof covers, so nobody can take it out on the way unseen.

As libpq does, the client side sends an empty user name (the startup packet has it).

Passwords are brought into the form of SASLprep (RFC 4013) first, so that those that
look the same are the same.  As in libpq, a password that SASLprep refuses is used as
its raw bytes.
"""

from __future__ import annotations

import re
import stringprep
import unicodedata
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import pbkdf2_hmac, sha256
from hmac import compare_digest, digest
from typing import Final, Self

from pgswitch.errors import (
    BrokenPacket,
    SaslFailed,
    ServerIterationsTooMany,
    ServerSignatureInvalid,
    ServerSignatureNotVerified,
)
from pgswitch.wire.constants import SCRAM_SHA_256, SCRAM_SHA_256_PLUS

_PROHIBITED: Final = (
    stringprep.in_table_a1,
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)
"""What RFC 4013, sections 2.3 and 2.5, allows nowhere in a password."""


def prepare_password(password: str) -> bytes:
    """Return the password as SCRAM uses it: after SASLprep, else its raw bytes.

    Bytes that are no UTF-8 (surrogate escapes in the text) stay as they are.
    """
    raw = password.encode("utf-8", "surrogateescape")
    if password.isascii() and password.isprintable():
        return raw
    prepared = _saslprep(password)
    return raw if prepared is None else prepared.encode()


def _saslprep(password: str) -> str | None:
    """Return the text after RFC 4013, None if it prohibits it or leaves nothing."""
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in password
        if not stringprep.in_table_b1(character)
    )
    text = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if not text:
        return None
    if any(is_in(character) for character in text for is_in in _PROHIBITED):
        return None
    if any(map(stringprep.in_table_d1, text)):  # RFC 3454, section 6: right to left
        if any(map(stringprep.in_table_d2, text)):
            return None
        if not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
            return None
    return text


DEFAULT_ITERATIONS: Final = 4096
"""Iterations of PBKDF2, PostgreSQL's default; about 2 ms of work."""

ITERATIONS_LIMIT: Final = 10_000_000
"""We never compute more iterations than this (about 5 s of work)."""

_MAX_DIGITS: Final = 10
"""Digits of 2147483647, the maximum of PostgreSQL's iterations."""

KEY_SIZE: Final = 32
SALT_SIZE: Final = 16
NONCE_SIZE: Final = 18
"""Bytes of randomness behind a nonce, as PostgreSQL has it; 24 characters."""

_VERIFIER = re.compile(
    r"SCRAM-SHA-256\$([1-9][0-9]{0,9}):([A-Za-z0-9+/=]+)"
    r"\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)",
    re.ASCII,
)
_UNBOUND: Final = b"n,,"
"""Header (RFC 5802, section 7): no channel binding; no authzid."""
_NOT_OFFERED: Final = b"y,,"
"""The client could bind, but has not been offered it."""
_BOUND: Final = b"p=tls-server-end-point,,"
"""The client binds by the server's certificate."""

_NONCE_LETTERS: Final = bytes(range(0x21, 0x2C)) + bytes(range(0x2D, 0x7F))
"""RFC 5802, section 7: printable ASCII except the comma."""


class ScramKeys:
    """ClientKey and ServerKey: as good as the password where the verifier is used."""

    __slots__ = ("client_key", "server_key")

    def __init__(self, client_key: bytes, server_key: bytes) -> None:
        """Take both."""
        self.client_key = client_key
        self.server_key = server_key

    def __eq__(self, other: object) -> bool:
        """Whether the other has the same keys."""
        if not isinstance(other, ScramKeys):
            return False
        return compare_digest(
            self.client_key + self.server_key, other.client_key + other.server_key
        )

    def __hash__(self) -> int:
        """Return a hash of the keys."""
        return hash(self.client_key)

    def __repr__(self) -> str:
        """Return a text without the keys."""
        return "ScramKeys()"


@dataclass(frozen=True, slots=True)
class ScramVerifier:
    """What a server stores instead of a password."""

    iterations: int
    salt: bytes
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the verifier in PostgreSQL's text form, None if it is none."""
        found = _VERIFIER.fullmatch(text)
        if found is None:
            return None
        salt, stored_key, server_key = map(_unbase64, found.group(2, 3, 4))
        if salt is None or stored_key is None or server_key is None:
            return None
        if len(stored_key) != KEY_SIZE or len(server_key) != KEY_SIZE:
            return None
        return cls(int(found[1]), salt, stored_key, server_key)

    def __str__(self) -> str:
        """Return PostgreSQL's text form (column rolpassword of pg_authid)."""
        salt, stored_key, server_key = (
            _base64(part).decode()
            for part in (self.salt, self.stored_key, self.server_key)
        )
        return f"{SCRAM_SHA_256}${self.iterations}:{salt}${stored_key}:{server_key}"


def _base64(data: bytes) -> bytes:
    return b2a_base64(data, newline=False)


def _unbase64(text: str | bytes) -> bytes | None:
    """Return the bytes of a strict base64 text, None if it is none."""
    try:
        return a2b_base64(text, strict_mode=True)
    except ValueError:
        return None


# --------------------------------------------------------------------------- keys


def keys_from_password(password: str, salt: bytes, iterations: int) -> ScramKeys:
    """Return the keys of a password.

    Costs ``iterations`` of PBKDF2: some 0.5 ms for each thousand.  They release the
    interpreter lock, so a thread can do it.
    """
    prepared = prepare_password(password)
    salted = pbkdf2_hmac("sha256", prepared, salt, iterations)
    return ScramKeys(
        client_key=digest(salted, b"Client Key", "sha256"),
        server_key=digest(salted, b"Server Key", "sha256"),
    )


def make_verifier(password: str, salt: bytes, iterations: int) -> ScramVerifier:
    """Return the verifier of a password; costs as much as its keys."""
    keys = keys_from_password(password, salt, iterations)
    stored_key = sha256(keys.client_key).digest()
    return ScramVerifier(iterations, salt, stored_key, keys.server_key)


class KeyedHash:
    """HMAC-SHA-256 with one key (RFC 2104), prepared as far as the key allows.

    For a key that is used often: half the work is done, and OpenSSL need not look up
    the algorithm again, which takes longer than the hashing.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        """Take a key of one block of SHA-256 (64 bytes) at most."""
        block = key.ljust(_BLOCK_SIZE, b"\0")
        self._inner = sha256(block.translate(_INNER_PAD))
        self._outer = sha256(block.translate(_OUTER_PAD))

    def digest(self, message: bytes) -> bytes:
        """Return what ``hmac.digest`` does."""
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()


_SHA256: Final = sha256()
"""To be copied: for a new one OpenSSL looks up the algorithm."""
_BLOCK_SIZE: Final = 64
_INNER_PAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD: Final = bytes(byte ^ 0x5C for byte in range(256))

_MAX_CACHED: Final = 2000
"""Cached hashes by key, of verifiers in recent use: some 2 MB."""
_cached_hashes: Final[dict[bytes, KeyedHash]] = {}


def _keyed_digest(key: bytes, message: bytes) -> bytes:
    """Return the HMAC of a message by a key of a verifier."""
    keyed = _cached_hashes.get(key)
    if keyed is None:
        if len(_cached_hashes) >= _MAX_CACHED:
            _cached_hashes.clear()
        keyed = _cached_hashes[key] = KeyedHash(key)
    return keyed.digest(message)


@lru_cache(_MAX_CACHED)
def mock_verifier(user: str, seed: bytes, iterations: int) -> ScramVerifier:
    """Return a verifier that no password matches, for a user that does not exist.

    The salt depends on the user and on ``seed``, 32 random bytes that are the same for
    the life of the process; so a second attempt shows nothing new.  It is cached,
    because the verifiers of known users are, too, and the time would show that.
    """
    name = user.encode("utf-8", "surrogateescape")
    salt = sha256(name + seed).digest()[:SALT_SIZE]
    stored_key = digest(seed, b"stored" + name, "sha256")
    server_key = digest(seed, b"server" + name, "sha256")
    return ScramVerifier(iterations, salt, stored_key, server_key)


def matches(verifier: ScramVerifier, password: str) -> bool:
    """Whether the password is the verifier's; costs as much as its keys.

    Never beyond ITERATIONS_LIMIT: every user of a server may set its own verifier, and
    must not decide how long we compute.
    """
    if verifier.iterations > ITERATIONS_LIMIT:
        return False
    other = make_verifier(password, verifier.salt, verifier.iterations)
    return compare_digest(other.stored_key, verifier.stored_key)


def make_nonce(random_bytes: bytes) -> bytes:
    """Return a nonce in the letters the protocol allows."""
    return _base64(random_bytes)


# ----------------------------------------------------------------------- messages


def _attribute(part: bytes, letter: bytes) -> bytes | None:
    """Return the value of ``letter=value``, None if it is another attribute."""
    return part[2:] if part[:2] == letter + b"=" else None


def _xor(left: bytes, right: bytes) -> bytes:
    """Return the exclusive or of two keys; as numbers, a quarter of a loop's cost."""
    joined = int.from_bytes(left, "big") ^ int.from_bytes(right, "big")
    return joined.to_bytes(KEY_SIZE, "big")


class ScramServer:
    """Server side of one exchange: :meth:`first`, then :meth:`final`."""

    __slots__ = (
        "_auth_message",
        "_end_point",
        "_expected",
        "_nonce",
        "_verifier",
        "keys",
    )

    keys: ScramKeys | None
    """After a good proof: the client's keys, for logins to servers."""

    def __init__(
        self, verifier: ScramVerifier, nonce: bytes, end_point: bytes = b""
    ) -> None:
        """Take the stored verifier and our half of the nonce (:func:`make_nonce`).

        ``end_point`` is the hash of the certificate we have sent; empty if channel
        binding has not been offered.
        """
        self._verifier = verifier
        self._nonce = nonce
        self._end_point = end_point
        self._expected = b""
        """What client-final-message has to begin with."""
        self._auth_message = b""
        """The first two messages, as far as the proof covers them."""
        self.keys = None

    def first(self, data: bytes, mechanism: str = SCRAM_SHA_256) -> bytes:
        """Return server-first-message for client-first-message.

        SaslFailed: a header that does not go with the mechanism, another
        authorisation identity, mandatory extensions, or no such message at all; or
        the client has not heard that we offer channel binding: somebody in between has
        left it out. The user name is not looked at, as in PostgreSQL.
        """
        header = self._header_of(data, mechanism)
        bare = data[len(header) :]
        parts = bare.split(b",")
        if len(parts) < len(("n", "r")):
            raise SaslFailed
        nonce = _attribute(parts[1], b"r")
        if _attribute(parts[0], b"n") is None or nonce is None:
            raise SaslFailed
        if not nonce or nonce.translate(None, _NONCE_LETTERS):
            raise SaslFailed
        joined = b"r=" + nonce + self._nonce
        salt = _base64(self._verifier.salt)
        answer = joined + b",s=" + salt + b",i=%d" % self._verifier.iterations
        bound = self._end_point if header == _BOUND else b""
        self._expected = b"c=" + _base64(header + bound) + b"," + joined
        self._auth_message = bare + b"," + answer + b","
        return answer

    def _header_of(self, data: bytes, mechanism: str) -> bytes:
        """Return the header that a message begins with; SaslFailed as above."""
        if mechanism == SCRAM_SHA_256_PLUS:
            if self._end_point and data.startswith(_BOUND):
                return _BOUND
        elif data.startswith(_UNBOUND):
            return _UNBOUND
        elif data.startswith(_NOT_OFFERED) and not self._end_point:
            return _NOT_OFFERED
        raise SaslFailed

    def final(self, data: bytes) -> bytes:
        """Return server-final-message for client-final-message.

        SaslFailed: the proof is wrong, or the message does not belong here.
        """
        without_proof, found, text = data.rpartition(b",p=")
        expected = self._expected
        is_answer = without_proof == expected or (
            # Extensions may follow the nonce.
            without_proof.startswith(expected + b",")
        )
        proof = _unbase64(text)
        if not found or not expected or not is_answer or proof is None:
            raise SaslFailed
        if len(proof) != KEY_SIZE:
            raise SaslFailed
        verifier = self._verifier
        auth_message = self._auth_message + without_proof
        client_key = _xor(proof, _keyed_digest(verifier.stored_key, auth_message))
        hashed = _SHA256.copy()
        hashed.update(client_key)
        if not compare_digest(hashed.digest(), verifier.stored_key):
            raise SaslFailed
        self.keys = ScramKeys(client_key, verifier.server_key)
        return b"v=" + _base64(_keyed_digest(verifier.server_key, auth_message))


class ScramClient:
    """Client side of one exchange: :meth:`first`, :meth:`final`, :meth:`verify`."""

    __slots__ = ("_auth_message", "_bare", "_bound", "_header", "_nonce", "_server_key")

    def __init__(
        self, nonce: bytes, end_point: bytes = b"", mechanism: str = SCRAM_SHA_256
    ) -> None:
        """Take our half of the nonce (:func:`make_nonce`).

        ``end_point`` is the hash of the server's certificate, empty if there is none.
        """
        self._nonce = nonce
        self._bare = b"n=,r=" + nonce
        self._bound = b""
        self._header = _NOT_OFFERED if end_point else _UNBOUND
        if mechanism == SCRAM_SHA_256_PLUS:
            self._header, self._bound = _BOUND, end_point
        self._auth_message = self._server_key = b""

    def first(self) -> bytes:
        """Return client-first-message."""
        return self._header + self._bare

    def challenge(
        self, data: bytes, limit: int = ITERATIONS_LIMIT
    ) -> tuple[bytes, int]:
        """Return salt and iterations that server-first-message asks for.

        BrokenPacket: not such a message, or not an answer to ours;
        ServerIterationsTooMany: more work than ``limit`` iterations.
        """
        parts = data.split(b",")
        if len(parts) < len(("r", "s", "i")):
            raise BrokenPacket(message="AuthenticationSASLContinue")
        nonce = _attribute(parts[0], b"r") or b""
        salt = _unbase64(_attribute(parts[1], b"s") or b"")
        rounds = _attribute(parts[2], b"i") or b""
        ours = nonce.startswith(self._nonce) and len(nonce) > len(self._nonce)
        digits = rounds.isdigit() and len(rounds) <= _MAX_DIGITS
        if not ours or not salt or not digits:
            raise BrokenPacket(message="AuthenticationSASLContinue")
        iterations = int(rounds)
        if iterations < 1:
            raise BrokenPacket(message="AuthenticationSASLContinue")
        if iterations > limit:
            raise ServerIterationsTooMany(iterations=iterations, limit=limit)
        return salt, iterations

    def final(self, data: bytes, keys: ScramKeys) -> bytes:
        """Return client-final-message for server-first-message, proved by the keys.

        BrokenPacket as in :meth:`challenge`.
        """
        self.challenge(data)
        nonce = data.split(b",")[0]
        binding = _base64(self._header + self._bound)
        without_proof = b"c=" + binding + b"," + nonce
        self._auth_message = b",".join((self._bare, data, without_proof))
        self._server_key = keys.server_key
        stored_key = sha256(keys.client_key).digest()
        proof = _xor(keys.client_key, digest(stored_key, self._auth_message, "sha256"))
        return without_proof + b",p=" + _base64(proof)

    def verify(self, data: bytes) -> None:
        """Check server-final-message.

        ServerSignatureNotVerified: not such a message. ServerSignatureInvalid: it
        comes from somebody who does not have the verifier.
        """
        signature = _unbase64(_attribute(data.split(b",")[0], b"v") or b"")
        if signature is None or not self._auth_message or len(signature) != KEY_SIZE:
            raise ServerSignatureNotVerified
        expected = digest(self._server_key, self._auth_message, "sha256")
        if not compare_digest(signature, expected):
            raise ServerSignatureInvalid
