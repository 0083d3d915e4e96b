"""The authentication of a client: messages in, commands out, no sockets.

It begins after the start-up packet, when the client's user and method are known.  Its
rules:

* An unknown user is asked just like a known one (a mock login), so that the refusal
  does not show which of name and password was wrong.  Only ``trust`` cannot hide it.
* ``md5`` for a user whose secret is a SCRAM verifier is done by SCRAM, as PostgreSQL
  does.
* Texts and SQLSTATE of the refusals are PgBouncer's.
* Slow work (deriving keys from a password, PAM, a directory) is an :class:`Offload` for
  a thread; until its result is there, a message of the client breaks the protocol.

``CLIENT_AUTH_STATES`` is the table of states.  What a message or a result does by
state, and how each method begins, are the tables at the end of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from enum import IntEnum, auto
from functools import partial
from types import MappingProxyType
from typing import Final

from pgswitch.errors import (
    CertificateFailed,
    EmptyPassword,
    Fault,
    LdapFailed,
    LoginRejected,
    PamFailed,
    PasswordFailed,
    PeerRejected,
    ProtocolViolation,
    SaslFailed,
    SaslMechanismInvalid,
    SilentClose,
    TrustFailed,
    VerifierTooSlow,
)
from pgswitch.state_table import StateTable
from pgswitch.types import Method
from pgswitch.wire import constants as c
from pgswitch.wire import decode, encode, scram
from pgswitch.wire.password import Secret, SecretKind, check_md5, check_plain

Random = Callable[[int], bytes]
"""Returns that many unpredictable bytes (``os.urandom``)."""

VerifierCache = MutableMapping[tuple[str, Secret], scram.ScramVerifier]
"""Verifiers of clear secrets, so that each is derived only once."""

Authority = Callable[[str], bool]
"""Tells whether a password is right, or whether the peer is the user (password empty).

It may block, so it is called in a thread."""


# Commands are plain classes: making a frozen dataclass takes ten times as long, and a
# SCRAM login makes three; and a repr that shows nothing is right for secrets.


class Send:
    """Send these bytes to the client."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        """Take the bytes."""
        self.data = data


class Accepted:
    """The client is authenticated.

    Logins to servers can use ``scram_keys``, if the client proved itself against a
    stored SCRAM verifier, or ``password``, if it sent its password in clear.  ``last``
    are the last bytes of the exchange, AuthenticationSASLFinal or nothing; they may go
    out together with the messages that follow.
    """

    __slots__ = ("last", "password", "scram_keys")

    def __init__(
        self,
        scram_keys: scram.ScramKeys | None = None,
        password: Secret | None = None,
        last: bytes = b"",
    ) -> None:
        """Take what the exchange has found out."""
        self.scram_keys = scram_keys
        self.password = password
        self.last = last


class Refused:
    """Send the client the fault (unless it is silent) and close."""

    __slots__ = ("fault",)

    def __init__(self, fault: Fault) -> None:
        """Take the fault."""
        self.fault = fault


class Offload:
    """A call for a thread; :meth:`ClientAuthenticator.offload_done` takes its result.

    ``is_external``: it waits for another program or machine, and computes nothing.
    ``owner`` is the user or server that it is done for: owners take turns.
    """

    __slots__ = ("call", "is_external", "owner")

    def __init__(
        self,
        call: Callable[[], object],
        owner: str = "",
        *,
        is_external: bool = False,
    ) -> None:
        """Take what to call."""
        self.call = call
        self.owner = owner
        self.is_external = is_external


ClientAuthCommand = Send | Accepted | Refused | Offload


class ClientAuthState(IntEnum):
    """The state of a client's authentication; a number, because that hashes faster."""

    NEW = auto()
    PASSWORD = auto()
    """Waits for the password in clear."""
    PASSWORD_CHECK = auto()
    """A thread checks the password, or the peer."""
    MD5 = auto()
    """Waits for the MD5 answer."""
    SASL_FIRST = auto()
    """Waits for SASLInitialResponse."""
    DERIVING_KEYS = auto()
    """A thread derives the SCRAM verifier of a clear secret."""
    SASL_FINAL = auto()
    """Waits for SASLResponse, with the client's proof."""
    DONE = auto()


class ClientAuthEvent(IntEnum):
    """What changes the state of a client's authentication."""

    PASSWORD_REQUESTED = auto()
    MD5_REQUESTED = auto()
    SASL_REQUESTED = auto()
    CHECK_STARTED = auto()
    DERIVATION_STARTED = auto()
    CHALLENGE_SENT = auto()
    ACCEPTED = auto()
    REFUSED = auto()


CLIENT_AUTH_STATES: Final[StateTable[ClientAuthState, ClientAuthEvent]] = StateTable(
    "client authentication",
    ClientAuthState.NEW,
    {
        ClientAuthState.NEW: {
            ClientAuthEvent.PASSWORD_REQUESTED: ClientAuthState.PASSWORD,
            ClientAuthEvent.MD5_REQUESTED: ClientAuthState.MD5,
            ClientAuthEvent.SASL_REQUESTED: ClientAuthState.SASL_FIRST,
            ClientAuthEvent.CHECK_STARTED: ClientAuthState.PASSWORD_CHECK,
            ClientAuthEvent.ACCEPTED: ClientAuthState.DONE,
            ClientAuthEvent.REFUSED: ClientAuthState.DONE,
        },
        ClientAuthState.PASSWORD: {
            ClientAuthEvent.CHECK_STARTED: ClientAuthState.PASSWORD_CHECK,
            ClientAuthEvent.REFUSED: ClientAuthState.DONE,
        },
        ClientAuthState.PASSWORD_CHECK: {
            ClientAuthEvent.ACCEPTED: ClientAuthState.DONE,
            ClientAuthEvent.REFUSED: ClientAuthState.DONE,
        },
        ClientAuthState.MD5: {
            ClientAuthEvent.ACCEPTED: ClientAuthState.DONE,
            ClientAuthEvent.REFUSED: ClientAuthState.DONE,
        },
        ClientAuthState.SASL_FIRST: {
            ClientAuthEvent.DERIVATION_STARTED: ClientAuthState.DERIVING_KEYS,
            ClientAuthEvent.CHALLENGE_SENT: ClientAuthState.SASL_FINAL,
            ClientAuthEvent.REFUSED: ClientAuthState.DONE,
        },
        ClientAuthState.DERIVING_KEYS: {
            ClientAuthEvent.CHALLENGE_SENT: ClientAuthState.SASL_FINAL,
            ClientAuthEvent.REFUSED: ClientAuthState.DONE,
        },
        ClientAuthState.SASL_FINAL: {
            ClientAuthEvent.ACCEPTED: ClientAuthState.DONE,
            ClientAuthEvent.REFUSED: ClientAuthState.DONE,
        },
    },
)

# Final names, because each use of an enumeration's member costs a look-up.
_NEW: Final = ClientAuthState.NEW
_DONE: Final = ClientAuthState.DONE
_MD5: Final = Method.MD5
_CLEAR_SECRET: Final = SecretKind.PLAIN
_SCRAM_SECRET: Final = SecretKind.SCRAM


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginContext:
    """What an authentication needs besides the user.

    :ivar mock_seed: 32 random bytes, the same for the life of the process.
    :ivar iterations: the setting ``scram_iterations``, for verifiers of clear secrets.
    :ivar iterations_max: ``scram_iterations_max``, for stored verifiers.
    :ivar end_point: the hash of the certificate that we have sent the client, for
        channel binding; empty without TLS.
    :ivar authority: checks the password or the peer, for methods that ask another
        authority.
    :ivar is_proved: the client's certificate is one of its user.
    :ivar only_scram: every known user has a SCRAM secret.
    :ivar any_scram: at least one known user has a SCRAM secret.
    :ivar always_derives: each SCRAM login derives a verifier, even for an unknown user:
        some users' secrets are in clear, and the time would show which users exist.
    :ivar trusts_authority: the ``authority`` may know users that we do not.
    """

    random: Random
    mock_seed: bytes = field(repr=False)
    iterations: int = scram.DEFAULT_ITERATIONS
    iterations_max: int = scram.ITERATIONS_LIMIT
    cache: VerifierCache = field(default_factory=dict, repr=False)
    end_point: bytes = b""
    authority: Authority | None = None
    is_proved: bool = False
    only_scram: bool = False
    any_scram: bool = False
    always_derives: bool = False
    trusts_authority: bool = True


class ClientAuthenticator:
    """The authentication of one client by one method."""

    __slots__ = (
        "_context",
        "_method",
        "_pending",
        "_salt",
        "_scram",
        "_secret",
        "_state",
        "_user",
    )

    def __init__(
        self, method: Method, user: str, secret: Secret | None, context: LoginContext
    ) -> None:
        """Take method and user; ``secret`` is None for an unknown user."""
        self._method = method
        self._user = user
        self._secret = secret
        self._context = context
        self._salt = b""
        self._pending: str | tuple[str, bytes] = ""
        """What the offloaded call is about: the password, or mechanism and message."""
        self._scram: scram.ScramServer | None = None
        self._state = _NEW

    @property
    def state(self) -> ClientAuthState:
        """Where the authentication is."""
        return self._state

    def _change_state(self, event: ClientAuthEvent) -> None:
        """Change the state; raises IllegalTransitionError."""
        self._state = CLIENT_AUTH_STATES.next(self._state, event)

    def begin(self) -> list[ClientAuthCommand]:
        """Return the first commands: a request, or at once the outcome."""
        if self._state is not _NEW:
            raise RuntimeError("an authentication begins once")
        if self._method is _MD5 and self._is_scram_user():
            return self._request_sasl()
        return _ON_BEGIN[self._method](self)

    def message(self, kind: int, body: bytes) -> list[ClientAuthCommand]:
        """Return the commands for one message of the client.

        Raises RuntimeError before :meth:`begin` and after the outcome.
        """
        if self._state in (_NEW, _DONE):
            raise RuntimeError("no message belongs before or after an authentication")
        if kind == c.TERMINATE:
            return self._refuse(SilentClose("client close request"))
        act = _ON_MESSAGE.get(self._state)
        if act is None or kind != c.PASSWORD_MESSAGE:
            return self._refuse(SilentClose("bad packet"))
        try:
            return act(self, body)
        except Fault as fault:
            return self._refuse(fault)

    def offload_done(self, result: object) -> list[ClientAuthCommand]:
        """Return the commands for the result of an Offload, None if it failed."""
        act = _ON_RESULT.get(self._state)
        if act is None:
            return []  # It comes too late: the client is refused already.
        try:
            return act(self, result)
        except Fault as fault:
            return self._refuse(fault)

    def _is_scram_user(self) -> bool:
        """Tell whether the user has a SCRAM secret; an unknown one, as others do."""
        if self._secret is None:
            return self._context.only_scram
        return self._secret.kind is _SCRAM_SECRET

    def _accept(self, outcome: Accepted) -> list[ClientAuthCommand]:
        self._change_state(ClientAuthEvent.ACCEPTED)
        return [outcome]

    def _refuse(self, fault: Fault) -> list[ClientAuthCommand]:
        self._change_state(ClientAuthEvent.REFUSED)
        return [Refused(fault)]

    # --------------------------------------------------------------- requests

    def _begin_any(self) -> list[ClientAuthCommand]:
        return self._accept(Accepted())

    def _begin_trust(self) -> list[ClientAuthCommand]:
        if self._secret is None:
            return self._refuse(TrustFailed())
        return self._accept(Accepted())

    def _begin_reject(self) -> list[ClientAuthCommand]:
        return self._refuse(LoginRejected())

    def _begin_cert(self) -> list[ClientAuthCommand]:
        if self._secret is None or not self._context.is_proved:
            return self._refuse(CertificateFailed())
        return self._accept(Accepted())

    def _begin_peer(self) -> list[ClientAuthCommand]:
        if self._secret is None or self._context.authority is None:
            return self._refuse(PeerRejected())
        self._change_state(ClientAuthEvent.CHECK_STARTED)
        return [
            Offload(partial(self._context.authority, ""), self._user, is_external=True)
        ]

    def _request_password(self) -> list[ClientAuthCommand]:
        self._change_state(ClientAuthEvent.PASSWORD_REQUESTED)
        return [Send(encode.auth_cleartext())]

    def _request_md5(self) -> list[ClientAuthCommand]:
        self._change_state(ClientAuthEvent.MD5_REQUESTED)
        self._salt = self._context.random(c.MD5_SALT_SIZE)
        return [Send(encode.auth_md5(self._salt))]

    def _request_sasl(self) -> list[ClientAuthCommand]:
        self._change_state(ClientAuthEvent.SASL_REQUESTED)
        return [Send(_BINDING_OFFER if self._context.end_point else _OFFER)]

    def _is_offered(self, mechanism: str) -> bool:
        if mechanism == c.SCRAM_SHA_256_PLUS:
            return bool(self._context.end_point)
        return mechanism == c.SCRAM_SHA_256

    # ---------------------------------------------------------------- answers

    def _on_password(self, body: bytes) -> list[ClientAuthCommand]:
        password = decode.text(_answer(body))
        self._change_state(ClientAuthEvent.CHECK_STARTED)
        self._pending = password
        if self._context.authority is not None:
            check_outside = partial(self._context.authority, password)
            return [Offload(check_outside, self._user, is_external=True)]
        check = partial(check_plain, self._secret, self._user, password)
        if not self._context.any_scram and not self._is_scram_user():
            return self._on_checked(check())
        if self._iterations() > self._context.iterations_max:
            # As for an unknown user, which takes as long as always.
            check = partial(check_plain, None, self._user, password)
        return [Offload(partial(check, decoy=self._mock()), self._user)]

    def _iterations(self) -> int:
        """Return the iterations that checking the password takes; 0 without SCRAM."""
        verifier = None if self._secret is None else self._secret.verifier
        return 0 if verifier is None else verifier.iterations

    def _on_checked(self, result: object) -> list[ClientAuthCommand]:
        assert isinstance(self._pending, str)  # noqa: S101 - narrows the type
        is_unknown = self._secret is None and not self._context.trusts_authority
        if result is not True or is_unknown:
            limit = self._context.iterations_max
            if self._context.authority is None and self._iterations() > limit:
                raise VerifierTooSlow(iterations=self._iterations(), limit=limit)
            raise _WRONG[self._method]
        sent = self._pending
        password = Secret(_CLEAR_SECRET, sent) if sent else None
        return self._accept(Accepted(password=password))

    def _on_md5(self, body: bytes) -> list[ClientAuthCommand]:
        if not check_md5(self._secret, self._user, self._salt, _answer(body)):
            raise PasswordFailed
        return self._accept(Accepted())

    def _on_sasl_first(self, body: bytes) -> list[ClientAuthCommand]:
        if not self._is_offered(decode.text(body.partition(_ZERO)[0])):
            raise SaslMechanismInvalid
        try:
            mechanism, data = decode.sasl_initial_response(body)
        except ProtocolViolation as violation:
            raise SaslFailed from violation
        verifier = self._verifier()
        if verifier is not None and not self._context.always_derives:
            return self._challenge(verifier, mechanism, data)
        self._change_state(ClientAuthEvent.DERIVATION_STARTED)
        self._pending = mechanism, data
        salt = self._context.random(scram.SALT_SIZE)
        text = self._secret.value if self._secret else self._user
        derive_keys = partial(scram.make_verifier, text, salt, self._context.iterations)
        return [Offload(derive_keys, self._user)]

    def _verifier(self) -> scram.ScramVerifier | None:
        """Return what to check the proof with; None if it is still to be derived."""
        secret = self._secret
        if secret is not None and secret.verifier is not None:
            return secret.verifier
        if not secret or secret.kind is not _CLEAR_SECRET:
            return self._mock()
        known = self._context.cache.get((self._user, secret))
        is_right = known is not None and known.iterations == self._context.iterations
        return known if is_right else None

    def _on_keys(self, result: object) -> list[ClientAuthCommand]:
        if not isinstance(result, scram.ScramVerifier):
            raise SaslFailed
        assert isinstance(self._pending, tuple)  # noqa: S101 - narrows the type
        verifier = self._verifier()
        if verifier is None and self._secret is not None:
            verifier = self._context.cache[self._user, self._secret] = result
        assert verifier is not None  # noqa: S101 - only a secret has none
        return self._challenge(verifier, *self._pending)

    def _challenge(
        self, verifier: scram.ScramVerifier, mechanism: str, data: bytes
    ) -> list[ClientAuthCommand]:
        nonce = scram.make_nonce(self._context.random(scram.NONCE_SIZE))
        self._scram = scram.ScramServer(verifier, nonce, self._context.end_point)
        answer = self._scram.first(data, mechanism)
        self._change_state(ClientAuthEvent.CHALLENGE_SENT)
        return [Send(encode.auth_sasl_continue(answer))]

    def _on_sasl_final(self, body: bytes) -> list[ClientAuthCommand]:
        if self._scram is None:
            raise SaslFailed
        answer = self._scram.final(body)
        secret = self._secret
        if not secret or secret.kind is SecretKind.MD5:
            raise SaslFailed  # A mock login; no proof can get this far.
        keys = self._scram.keys if secret.kind is _SCRAM_SECRET else None
        return self._accept(Accepted(keys, last=encode.auth_sasl_final(answer)))

    def _mock(self) -> scram.ScramVerifier:
        """Return a verifier that no password fits, as if the user existed."""
        context = self._context
        return scram.mock_verifier(self._user, context.mock_seed, context.iterations)


_ZERO: Final = b"\0"
_OFFER: Final = encode.auth_sasl()
_BINDING_OFFER: Final = encode.auth_sasl((c.SCRAM_SHA_256_PLUS, c.SCRAM_SHA_256))
"""The mechanisms over TLS, the best first."""


def _answer(body: bytes) -> bytes:
    """Return the answer in a PasswordMessage; EmptyPassword if there is none."""
    if body in (b"", _ZERO):
        raise EmptyPassword
    try:
        return decode.password(body)
    except ProtocolViolation as violation:
        raise PasswordFailed from violation


# Tables of the methods of the class above, so its private names are at home here.
# ruff: noqa: SLF001

_ON_BEGIN: Final[
    Mapping[Method, Callable[[ClientAuthenticator], list[ClientAuthCommand]]]
] = MappingProxyType(
    {
        Method.ANY: ClientAuthenticator._begin_any,
        Method.TRUST: ClientAuthenticator._begin_trust,
        Method.REJECT: ClientAuthenticator._begin_reject,
        Method.CERT: ClientAuthenticator._begin_cert,
        Method.PEER: ClientAuthenticator._begin_peer,
        Method.PLAIN: ClientAuthenticator._request_password,
        Method.LDAP: ClientAuthenticator._request_password,
        Method.PAM: ClientAuthenticator._request_password,
        Method.MD5: ClientAuthenticator._request_md5,
        Method.SCRAM_SHA_256: ClientAuthenticator._request_sasl,
    },
)
"""How each method begins: with a request, or at once with the outcome."""

_WRONG: Final[Mapping[Method, type[Fault]]] = MappingProxyType(
    {
        Method.PLAIN: PasswordFailed,
        Method.PEER: PeerRejected,
        Method.LDAP: LdapFailed,
        Method.PAM: PamFailed,
    }
)
"""The fault of each method if the password or the peer is wrong."""

_ON_MESSAGE: Final[
    Mapping[
        ClientAuthState, Callable[[ClientAuthenticator, bytes], list[ClientAuthCommand]]
    ]
] = MappingProxyType(
    {
        ClientAuthState.PASSWORD: ClientAuthenticator._on_password,
        ClientAuthState.MD5: ClientAuthenticator._on_md5,
        ClientAuthState.SASL_FIRST: ClientAuthenticator._on_sasl_first,
        ClientAuthState.SASL_FINAL: ClientAuthenticator._on_sasl_final,
    }
)
"""What a PasswordMessage does by state; no other state takes messages."""

_ON_RESULT: Final[
    Mapping[
        ClientAuthState,
        Callable[[ClientAuthenticator, object], list[ClientAuthCommand]],
    ]
] = MappingProxyType(
    {
        ClientAuthState.PASSWORD_CHECK: ClientAuthenticator._on_checked,
        ClientAuthState.DERIVING_KEYS: ClientAuthenticator._on_keys,
    }
)
"""What the result of an Offload does by state."""
