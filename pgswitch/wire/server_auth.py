"""Our login to a PostgreSQL server: messages in, commands out, no sockets.

It begins after our StartupMessage and ends with the server's first ReadyForQuery.  Its
rules:

* We speak clear text, MD5 and SCRAM-SHA-256, over TLS with channel binding if the
  server offers it.  GSSAPI, SSPI and OAuth are not supported: the log says so.
* A stored SCRAM verifier is no password: it serves only together with the keys of a
  client that proved itself against the same verifier (:class:`ScramKeys`).
* Deriving keys from a clear password takes as many iterations as the server asks for,
  so it is an :class:`Offload` for a thread: one bad server must not block the logins to
  others.
* The server has to prove itself, too: AuthenticationOk in the middle of SCRAM, or after
  a wrong signature, is a failure.

``SERVER_AUTH_STATES`` is the table of states.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from enum import IntEnum, auto
from functools import partial
from types import MappingProxyType
from typing import ClassVar, Final

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
from pgswitch.state_table import StateTable
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
"""Keys by clear secret, salt and iterations, so that each is derived only once."""

_HEADER = 5
"""Type byte and length of a message."""

_CACHE_LIMIT = 10_000
"""Cached keys; a server that sends a new salt each time must not fill the memory."""

MAX_MESSAGE_BYTES = 65536
"""Bytes of one message of a login. libpq takes 30,000 of most, 2,000 of some."""
MAX_LOGIN_BYTES = 1_048_576
"""Bytes that a server may send in a login; PostgreSQL sends some 600."""
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
"""Authentication requests that we do not support, in words for the log."""


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
    """We give up: the reason for the log, and the fault for waiting clients, if any.

    Without a ``client_fault`` they go on waiting for another attempt.
    """

    reason: str
    client_fault: Fault | None = None


ServerAuthCommand = Send | LoginDone | ServerRefused | Failed | Offload


class ServerAuthState(IntEnum):
    """The state of our login to a server; a number, because that hashes faster."""

    AUTHENTICATING = auto()
    """No SASL exchange has begun; other methods need no state of their own."""
    SASL_CHALLENGE = auto()
    """Waits for AuthenticationSASLContinue."""
    DERIVING_KEYS = auto()
    """A thread derives the SCRAM keys of a clear password."""
    SASL_SIGNATURE = auto()
    """Waits for AuthenticationSASLFinal, with the server's proof."""
    SASL_VERIFIED = auto()
    AUTHENTICATED = auto()
    """Waits for ReadyForQuery."""
    DONE = auto()


class ServerAuthEvent(IntEnum):
    """What changes the state of our login to a server."""

    SASL_STARTED = auto()
    DERIVATION_STARTED = auto()
    PROOF_SENT = auto()
    SIGNATURE_VERIFIED = auto()
    AUTHENTICATION_OK = auto()
    ENDED = auto()
    """The login is done, refused or given up."""


SERVER_AUTH_STATES: Final[StateTable[ServerAuthState, ServerAuthEvent]] = StateTable(
    "login to a server",
    ServerAuthState.AUTHENTICATING,
    {
        ServerAuthState.AUTHENTICATING: {
            ServerAuthEvent.SASL_STARTED: ServerAuthState.SASL_CHALLENGE,
            ServerAuthEvent.AUTHENTICATION_OK: ServerAuthState.AUTHENTICATED,
            ServerAuthEvent.ENDED: ServerAuthState.DONE,
        },
        ServerAuthState.SASL_CHALLENGE: {
            ServerAuthEvent.DERIVATION_STARTED: ServerAuthState.DERIVING_KEYS,
            ServerAuthEvent.PROOF_SENT: ServerAuthState.SASL_SIGNATURE,
            ServerAuthEvent.ENDED: ServerAuthState.DONE,
        },
        ServerAuthState.DERIVING_KEYS: {
            ServerAuthEvent.PROOF_SENT: ServerAuthState.SASL_SIGNATURE,
            ServerAuthEvent.ENDED: ServerAuthState.DONE,
        },
        ServerAuthState.SASL_SIGNATURE: {
            ServerAuthEvent.SIGNATURE_VERIFIED: ServerAuthState.SASL_VERIFIED,
            ServerAuthEvent.ENDED: ServerAuthState.DONE,
        },
        ServerAuthState.SASL_VERIFIED: {
            ServerAuthEvent.AUTHENTICATION_OK: ServerAuthState.AUTHENTICATED,
            ServerAuthEvent.ENDED: ServerAuthState.DONE,
        },
        ServerAuthState.AUTHENTICATED: {
            ServerAuthEvent.ENDED: ServerAuthState.DONE,
        },
    },
)


class _GaveUpError(Exception):
    """Carries a Failed out of the function of a message."""

    def __init__(self, reason: str, client_fault: Fault | None = None) -> None:
        super().__init__(reason)
        self.outcome = Failed(reason, client_fault)


class ServerAuthenticator:
    """Our login to one server."""

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
    """Hash of the certificate that the server has sent; empty without TLS."""

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
        """Take the user, and what proves it; ``iterations_max`` bounds the work.

        No secret counts as an empty password.  A clear secret goes before the keys.
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

    def _change_state(self, event: ServerAuthEvent) -> None:
        """Change the state; raises IllegalTransitionError."""
        self._state = SERVER_AUTH_STATES.next(self._state, event)

    def message(self, kind: int, body: bytes) -> list[ServerAuthCommand]:
        """Return the commands for one message of the server.

        Raises RuntimeError after the outcome.
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
        """Count a message; return which limit the login exceeds, empty for none."""
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
        self._change_state(ServerAuthEvent.ENDED)
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
        """Give up unless the login is in one of these states."""
        if self._state not in states:
            raise _GaveUpError("failed to answer authreq")

    def _on_ok(self, _data: bytes) -> list[ServerAuthCommand]:
        if self._state in self._UNPROVED:
            fault = ServerSignatureNotVerified()
            raise _GaveUpError("failed to verify server signature", fault)
        self._expect(ServerAuthState.AUTHENTICATING, ServerAuthState.SASL_VERIFIED)
        self._change_state(ServerAuthEvent.AUTHENTICATION_OK)
        return []

    def _on_cleartext(self, _data: bytes) -> list[ServerAuthCommand]:
        self._expect(ServerAuthState.AUTHENTICATING)
        if self._secret.kind is not SecretKind.PLAIN:
            # A hash cannot be right, and must not be sent to a server that asks for it.
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
        self._change_state(ServerAuthEvent.SASL_STARTED)
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
        self._change_state(ServerAuthEvent.DERIVATION_STARTED)
        self._challenge = data
        return [
            Offload(partial(_derived_keys, self._cache, self._secret, salt, iterations))
        ]

    def offload_done(self, result: object) -> list[ServerAuthCommand]:
        """Return the commands for the result of an Offload, None if it failed."""
        if self._state is not ServerAuthState.DERIVING_KEYS:
            return []  # It comes too late: the login has ended.
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
        """Return the proof, by a client's keys or by those derived from a password."""
        answer = self._exchange().final(challenge, keys)
        self._change_state(ServerAuthEvent.PROOF_SENT)
        return [Send(encode.sasl_response(answer))]

    def _on_sasl_final(self, data: bytes) -> list[ServerAuthCommand]:
        self._expect(ServerAuthState.SASL_SIGNATURE)
        try:
            self._exchange().verify(data)
        except ServerSignatureInvalid as fault:
            raise _GaveUpError("invalid server signature", fault) from fault
        except ServerSignatureNotVerified as fault:
            raise _GaveUpError("failed to verify server signature", fault) from fault
        self._change_state(ServerAuthEvent.SIGNATURE_VERIFIED)
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
        """Accept what the server offers: we need nothing beyond protocol 3.0."""
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
    """States in which the server has yet to prove itself."""

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
    """What each kind of Authentication does; the functions check the state."""

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
    """What each type of message does; any other type ends the login."""


def _derived_keys(
    cache: KeyCache, secret: Secret, salt: bytes, iterations: int
) -> scram.ScramKeys:
    """Return the keys of a clear secret; runs in a thread.

    They may have been derived for another connection while this call was queued.
    """
    known = cache.get((secret, salt, iterations))
    return known or scram.keys_from_password(secret.value, salt, iterations)


def _wrong_type(reason: str) -> _GaveUpError:
    """Return the failure of a secret that does not suit the server's request."""
    return _GaveUpError(reason, ServerLoginWrongPasswordType(detail=f"{reason}."))
