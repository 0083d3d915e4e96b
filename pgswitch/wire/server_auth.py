"""Us logging in to a PostgreSQL server: messages in, commands out, no sockets.

The machine starts behind our StartupMessage and ends with the server's first
ReadyForQuery. Its rules:

* Clear text, MD5 and SCRAM-SHA-256 are spoken, over TLS with channel binding where
  the server offers it. GSSAPI, SSPI and OAuth are not: the log says so.
* A stored SCRAM verifier is no password: it serves only together with the keys of a
  client that proved itself against the same verifier (:class:`ScramKeys`).
* Stretching a clear password takes as long as the server says it should, so it is a
  :class:`Offload` for a thread: one bad server must not stop the logins to others.
* The server has to prove itself as well: AuthenticationOk in the middle of SCRAM, or
  with a wrong signature before, is a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from types import MappingProxyType
from typing import ClassVar

from pgswitch.errors import (
    PROTOCOL_VIOLATION,
    BrokenPacket,
    Fault,
    ServerAuthUnsupported,
    ServerIterationsTooMany,
    ServerLoginWrongPasswordType,
    ServerMessageTooLong,
    ServerSaslUnsupported,
    ServerSignatureInvalid,
    ServerSignatureNotVerified,
)
from pgswitch.wire import constants as c
from pgswitch.wire import decode, encode, scram
from pgswitch.wire.client_auth import Offload, Random, Send
from pgswitch.wire.password import Secret, SecretKind, md5_answer

__all__ = [
    "NO_SCRAM_KEYS",
    "Failed",
    "KeyCache",
    "LoginDone",
    "Offload",
    "Send",
    "ServerAuthCommand",
    "ServerAuthState",
    "ServerAuthenticator",
    "ServerRefused",
]

KeyCache = MutableMapping[tuple[Secret, bytes, int], scram.ScramKeys]
"""Keys by clear secret, salt and iterations, so that each is stretched only once."""

_HEADER = 5
"""Type byte and length of a message."""

_CACHE_LIMIT = 10_000
"""Keys kept at once; a server that names a new salt each time must not fill memory."""

MAX_MESSAGE_BYTES = 65536
"""Bytes of one message of a login. libpq takes 30,000 of most, 2,000 of some."""
MAX_LOGIN_BYTES = 1_048_576
"""Bytes of all that a server says in a login; PostgreSQL says some 600."""
MAX_PARAMETERS = 1000
"""Parameters that a server may report; PostgreSQL 18 reports 15."""
MAX_MESSAGES = 10_000
"""Messages of a login: parameters, and notices of login triggers."""

NO_SCRAM_KEYS = (
    "cannot do SCRAM authentication: password is SCRAM secret but client "
    "authentication did not provide SCRAM keys"
)
"""What the log says when only the verifier of a user is known."""


_UNSUPPORTED = MappingProxyType(
    {
        c.AUTH_KERBEROS_V5: "Kerberos V5",
        c.AUTH_GSS: "GSSAPI",
        c.AUTH_GSS_CONTINUE: "GSSAPI",
        c.AUTH_SSPI: "SSPI",
    }
)
"""What a server may ask for that is not spoken, in words for the log."""


@dataclass(frozen=True, slots=True)
class LoginDone:
    """The server is ready; its parameters in the order they came, and its key.

    The key is the body of BackendKeyData, empty if the server sent none.
    """

    parameters: dict[str, str]
    cancel_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ServerRefused:
    """The server sent ErrorResponse: its severity, SQLSTATE and text."""

    severity: str
    sqlstate: str
    message: str


@dataclass(frozen=True, slots=True)
class Failed:
    """We give up: reason for the log, and what waiting clients are told, if anything.

    With no ``client_fault`` they go on waiting for another attempt.
    """

    reason: str
    client_fault: Fault | None = None


ServerAuthCommand = Send | LoginDone | ServerRefused | Failed | Offload


class ServerAuthState(Enum):
    """Where our login is."""

    AUTHENTICATING = auto()
    SASL_CHALLENGE = auto()
    DERIVING_KEYS = auto()
    SASL_SIGNATURE = auto()
    SASL_VERIFIED = auto()
    AUTHENTICATED = auto()
    DONE = auto()


class _GaveUpError(Exception):
    """Carries a Failed out of a message's function."""

    def __init__(self, reason: str, client_fault: Fault | None = None) -> None:
        super().__init__(reason)
        self.outcome = Failed(reason, client_fault)


class ServerAuthenticator:
    """The login of one connection of ours."""

    __slots__ = (
        "_bytes",
        "_cache",
        "_cancel_key",
        "_challenge",
        "_iterations_max",
        "_messages",
        "_parameters",
        "_random",
        "_scram",
        "_scram_keys",
        "_secret",
        "_state",
        "_user",
        "end_point",
    )

    end_point: bytes
    """Hash of the certificate that the server has shown; empty without TLS."""

    def __init__(
        self,
        user: str,
        secret: Secret | None,
        scram_keys: scram.ScramKeys | None = None,
        *,
        random: Random,
        cache: KeyCache | None = None,
        iterations_max: int = scram.ITERATIONS_LIMIT,
    ) -> None:
        """Take whom to log in as, and with what, and how much work that may be.

        No secret counts as an empty password. A clear secret goes before the keys.
        """
        self._user = user
        self._secret = Secret(SecretKind.PLAIN, "") if secret is None else secret
        self._scram_keys = scram_keys
        self._random = random
        self._cache = {} if cache is None else cache
        self._iterations_max = iterations_max
        self._scram: scram.ScramClient | None = None
        self._parameters: dict[str, str] = {}
        self._cancel_key = b""
        self._state = ServerAuthState.AUTHENTICATING
        self._challenge = b""
        self._bytes = self._messages = 0
        self.end_point = b""

    @property
    def state(self) -> ServerAuthState:
        """Where the login is."""
        return self._state

    def message(self, kind: int, body: bytes) -> list[ServerAuthCommand]:
        """Return the commands for one message of the server.

        After the outcome no message belongs here any more (RuntimeError).
        """
        if self._state is ServerAuthState.DONE:
            raise RuntimeError("the login is over")
        if too_much := self._too_much(kind, len(body) + _HEADER):
            return self._end(Failed(too_much))
        act = self._TABLE.get(kind)
        if act is None:
            return self._end(Failed("unknown pkt from server"))
        try:
            return act(self, body)
        except _GaveUpError as failure:
            return self._end(failure.outcome)
        except Fault as fault:
            return self._end(Failed(fault.text))

    def _too_much(self, kind: int, size: int) -> str:
        """Count a message; say what is too much of what all have cost, or nothing."""
        self._bytes += size
        self._messages += 1
        if size > MAX_MESSAGE_BYTES:
            return ServerMessageTooLong(kind=chr(kind), size=size).text
        if self._bytes > MAX_LOGIN_BYTES:
            return f"server sent more than {MAX_LOGIN_BYTES} bytes in its login"
        if self._messages > MAX_MESSAGES:
            return f"server sent more than {MAX_MESSAGES} messages in its login"
        return ""

    def _end(
        self, outcome: LoginDone | ServerRefused | Failed
    ) -> list[ServerAuthCommand]:
        self._state = ServerAuthState.DONE
        return [outcome]

    # ----------------------------------------------------------- authentication

    def _on_authentication(self, body: bytes) -> list[ServerAuthCommand]:
        kind, data = decode.authentication(body)
        act = self._METHODS.get(kind)
        if act is None:
            name = _UNSUPPORTED.get(kind)
            reason = "unknown/unsupported auth method: "
            if name is None:
                raise _GaveUpError(f"{reason}{kind}")
            method = f"{kind} ({name})"
            raise _GaveUpError(reason + method, ServerAuthUnsupported(method=method))
        return act(self, data)

    def _expect(self, *states: ServerAuthState) -> None:
        """Give up if the server is not where such a message belongs."""
        if self._state not in states:
            raise _GaveUpError("failed to answer authreq")

    def _on_ok(self, _data: bytes) -> list[ServerAuthCommand]:
        if self._state in self._UNPROVED:
            fault = ServerSignatureNotVerified()
            raise _GaveUpError("failed to verify server signature", fault)
        self._expect(ServerAuthState.AUTHENTICATING, ServerAuthState.SASL_VERIFIED)
        self._state = ServerAuthState.AUTHENTICATED
        return []

    def _on_cleartext(self, _data: bytes) -> list[ServerAuthCommand]:
        self._expect(ServerAuthState.AUTHENTICATING)
        if self._secret.kind is not SecretKind.PLAIN:
            # It could not be right, and is nothing to be told to whoever asks.
            raise _wrong_type("cannot do password authentication: wrong password type")
        answer = self._secret.value.encode("utf-8", "surrogateescape")
        return [Send(encode.password(answer))]

    def _on_md5(self, data: bytes) -> list[ServerAuthCommand]:
        self._expect(ServerAuthState.AUTHENTICATING)
        if len(data) != c.MD5_SALT_SIZE:
            raise BrokenPacket(message="Authentication")
        answer = md5_answer(self._secret, self._user, data)
        if answer is None:
            raise _wrong_type("cannot do MD5 authentication: wrong password type")
        return [Send(encode.password(answer))]

    def _on_sasl(self, data: bytes) -> list[ServerAuthCommand]:
        self._expect(ServerAuthState.AUTHENTICATING)
        offered = decode.sasl_mechanisms(data)
        mechanism = c.SCRAM_SHA_256
        if self.end_point and c.SCRAM_SHA_256_PLUS in offered:
            mechanism = c.SCRAM_SHA_256_PLUS
        elif mechanism not in offered:
            reason = "none of the server's SASL authentication mechanisms are supported"
            names = ", ".join(offered)
            fault = ServerSaslUnsupported(detail=f"The server offers: {names}.")
            raise _GaveUpError(f"{reason}: {names}", fault)
        if self._secret.kind is SecretKind.MD5:
            raise _wrong_type("cannot do SCRAM authentication: wrong password type")
        if self._secret.kind is SecretKind.SCRAM and self._scram_keys is None:
            raise _wrong_type(NO_SCRAM_KEYS)
        nonce = scram.make_nonce(self._random(scram.NONCE_SIZE))
        self._scram = scram.ScramClient(nonce, self.end_point, mechanism)
        self._state = ServerAuthState.SASL_CHALLENGE
        first = self._scram.first()
        return [Send(encode.sasl_initial_response(mechanism, first))]

    def _on_sasl_continue(self, data: bytes) -> list[ServerAuthCommand]:
        self._expect(ServerAuthState.SASL_CHALLENGE)
        if self._secret.kind is SecretKind.SCRAM and self._scram_keys is not None:
            return self._prove(data, self._scram_keys)
        try:
            salt, iterations = self._exchange().challenge(data, self._iterations_max)
        except ServerIterationsTooMany as fault:
            raise _GaveUpError(fault.text, fault) from fault
        known = self._cache.get((self._secret, salt, iterations))
        if known is not None:
            return self._prove(data, known)
        self._state = ServerAuthState.DERIVING_KEYS
        self._challenge = data
        return [
            Offload(partial(_derived_keys, self._cache, self._secret, salt, iterations))
        ]

    def offload_done(self, result: object) -> list[ServerAuthCommand]:
        """Return the commands for the result of an Offload, None if it failed."""
        if self._state is not ServerAuthState.DERIVING_KEYS:
            return []  # The server has not waited for it.
        if not isinstance(result, scram.ScramKeys):
            return self._end(Failed("failed to answer authreq"))
        salt, iterations = self._exchange().challenge(self._challenge)
        if len(self._cache) >= _CACHE_LIMIT:
            self._cache.clear()
        self._cache[self._secret, salt, iterations] = result
        return self._prove(self._challenge, result)

    def _prove(
        self, challenge: bytes, keys: scram.ScramKeys
    ) -> list[ServerAuthCommand]:
        """Return the proof, by a client's keys or by those of a clear password."""
        answer = self._exchange().final(challenge, keys)
        self._state = ServerAuthState.SASL_SIGNATURE
        return [Send(encode.sasl_response(answer))]

    def _on_sasl_final(self, data: bytes) -> list[ServerAuthCommand]:
        self._expect(ServerAuthState.SASL_SIGNATURE)
        try:
            self._exchange().verify(data)
        except ServerSignatureInvalid as fault:
            raise _GaveUpError("invalid server signature", fault) from fault
        except ServerSignatureNotVerified as fault:
            raise _GaveUpError("failed to verify server signature", fault) from fault
        self._state = ServerAuthState.SASL_VERIFIED
        return []

    def _exchange(self) -> scram.ScramClient:
        if self._scram is None:
            raise _GaveUpError("failed to answer authreq")
        return self._scram

    # ----------------------------------------------------------- other messages

    def _on_parameter_status(self, body: bytes) -> list[ServerAuthCommand]:
        name, value = decode.parameter_status(body)
        self._parameters[decode.text(name)] = decode.text(value)
        if len(self._parameters) > MAX_PARAMETERS:
            reason = f"server reported more than {MAX_PARAMETERS} parameters"
            raise _GaveUpError(f"{reason} in its login")
        return []

    def _on_backend_key_data(self, body: bytes) -> list[ServerAuthCommand]:
        self._cancel_key = decode.backend_key_data(body)
        return []

    def _on_negotiate(self, body: bytes) -> list[ServerAuthCommand]:
        """Go on with what the server offers: we need nothing beyond protocol 3.0."""
        decode.negotiate_protocol_version(body)
        return []

    def _on_notice(self, body: bytes) -> list[ServerAuthCommand]:
        decode.error_fields(body)
        return []

    def _on_error(self, body: bytes) -> list[ServerAuthCommand]:
        fields = decode.error_fields(body)
        refusal = ServerRefused(
            severity=fields.get("S", "FATAL"),
            sqlstate=fields.get("C", PROTOCOL_VIOLATION),
            message=fields.get("M", ""),
        )
        return self._end(refusal)

    def _on_ready(self, body: bytes) -> list[ServerAuthCommand]:
        self._expect(ServerAuthState.AUTHENTICATED)
        decode.ready_status(body)
        return self._end(LoginDone(self._parameters, self._cancel_key))

    _UNPROVED: ClassVar[frozenset[ServerAuthState]] = frozenset(
        (
            ServerAuthState.SASL_CHALLENGE,
            ServerAuthState.DERIVING_KEYS,
            ServerAuthState.SASL_SIGNATURE,
        )
    )
    """Where the server still owes us its proof."""

    _METHODS: ClassVar[
        Mapping[int, Callable[[ServerAuthenticator, bytes], list[ServerAuthCommand]]]
    ] = MappingProxyType(
        {
            c.AUTH_OK: _on_ok,
            c.AUTH_CLEARTEXT_PASSWORD: _on_cleartext,
            c.AUTH_MD5_PASSWORD: _on_md5,
            c.AUTH_SASL: _on_sasl,
            c.AUTH_SASL_CONTINUE: _on_sasl_continue,
            c.AUTH_SASL_FINAL: _on_sasl_final,
        }
    )
    """Kind of Authentication to what it does; the functions check the state."""

    _TABLE: ClassVar[
        Mapping[int, Callable[[ServerAuthenticator, bytes], list[ServerAuthCommand]]]
    ] = MappingProxyType(
        {
            c.AUTHENTICATION: _on_authentication,
            c.PARAMETER_STATUS: _on_parameter_status,
            c.BACKEND_KEY_DATA: _on_backend_key_data,
            c.NEGOTIATE_PROTOCOL_VERSION: _on_negotiate,
            c.NOTICE_RESPONSE: _on_notice,
            c.ERROR_RESPONSE: _on_error,
            c.READY_FOR_QUERY: _on_ready,
        }
    )
    """Type of message to what it does; any other one ends the login."""


def _derived_keys(
    cache: KeyCache, secret: Secret, salt: bytes, iterations: int
) -> scram.ScramKeys:
    """Return the keys of a clear secret; runs in a thread.

    Another connection may have had them made while this one stood in line.
    """
    known = cache.get((secret, salt, iterations))
    return known or scram.keys_from_password(secret.value, salt, iterations)


def _wrong_type(reason: str) -> _GaveUpError:
    """Return the failure of a secret that does not fit the server's question."""
    return _GaveUpError(reason, ServerLoginWrongPasswordType(detail=f"{reason}."))
