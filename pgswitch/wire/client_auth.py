"""A client logging in to us: messages in, commands out, no sockets.

The machine starts behind the startup packet, when it is known who wants to log in
and by which method. Its rules:

* An unknown user is asked just like a known one (a mock login), so that the refusal
  does not tell which of name and password was wrong. Only ``trust`` cannot hide it.
* ``md5`` for a user whose secret is a SCRAM verifier is done by SCRAM, as PostgreSQL
  does.
* Texts and SQLSTATE of the refusals are PgBouncer's.
* Whatever takes time (stretching a password, asking PAM or a directory) is a
  :class:`Offload` for a thread; until its result is there, no message belongs here.

What happens by method and by state is the tables at the end of the file.
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
from pgswitch.types import Method
from pgswitch.wire import constants as c
from pgswitch.wire import decode, encode, scram
from pgswitch.wire.password import Secret, SecretKind, check_md5, check_plain

Random = Callable[[int], bytes]
"""Gives that many unpredictable bytes (``os.urandom``)."""

VerifierCache = MutableMapping[tuple[str, Secret], scram.ScramVerifier]
"""Verifiers made from clear secrets, so that each is stretched only once."""

Authority = Callable[[str], bool]
"""Says whether a password is right, or whether the peer is the user (password empty).

May take its time, so it is asked in a thread."""


# Commands are plain classes: to make a frozen dataclass takes ten times as long, three
# times in a SCRAM login, and a repr that shows nothing is right for secrets.


class Send:
    """Send these bytes to the client."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        """Take the bytes."""
        self.data = data


class Accepted:
    """The client is who it says.

    ``scram_keys`` are there if it proved itself against a stored SCRAM verifier,
    ``password`` if it sent its password in clear: what its servers can be logged in
    to with. ``last`` are the last bytes of the exchange, which the welcome may follow
    at once: AuthenticationSASLFinal, or nothing.
    """

    __slots__ = ("last", "password", "scram_keys")

    def __init__(
        self,
        scram_keys: scram.ScramKeys | None = None,
        password: Secret | None = None,
        last: bytes = b"",
    ) -> None:
        """Take what the login has shown."""
        self.scram_keys = scram_keys
        self.password = password
        self.last = last


class Refused:
    """Tell the client of the fault (unless it is silent) and close."""

    __slots__ = ("fault",)

    def __init__(self, fault: Fault) -> None:
        """Take the fault."""
        self.fault = fault


class Offload:
    """A call for a thread; :meth:`ClientAuthenticator.offload_done` takes its result.

    ``is_external``: it may wait for somebody outside, and does not compute.
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
    """Where a client's login is; a number, which is found faster in a table."""

    NEW = auto()
    PASSWORD = auto()
    PASSWORD_CHECK = auto()
    MD5 = auto()
    SASL_FIRST = auto()
    DERIVING_KEYS = auto()
    SASL_FINAL = auto()
    DONE = auto()


# Final names: the members of an enumeration are looked up anew each time.
_NEW: Final = ClientAuthState.NEW
_SASL_FIRST: Final = ClientAuthState.SASL_FIRST
_SASL_FINAL: Final = ClientAuthState.SASL_FINAL
_DONE: Final = ClientAuthState.DONE
_MD5: Final = Method.MD5
_CLEAR_SECRET: Final = SecretKind.PLAIN
_SCRAM_SECRET: Final = SecretKind.SCRAM


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginContext:
    """What logins need besides the user: the same for all of one kind.

    ``mock_seed`` is 32 random bytes kept for the life of the process. ``iterations``
    is the setting ``scram_iterations``, for verifiers made from clear secrets, and
    ``iterations_max`` is ``scram_iterations_max``, for those that are stored.
    ``end_point`` is the hash of the certificate that the client was shown, for channel
    binding; empty if there is none. ``authority`` is asked by the methods that leave
    it to others. ``is_proved``: the certificate is that of who the client says it is.
    ``only_scram``: every known user has a SCRAM secret; ``any_scram``: one at least.
    ``always_derives``: a SCRAM login costs a verifier made anew, whoever it is: some
    users' secrets are in clear, and the time would tell. ``trusts_authority``: who is
    unknown here may be known to the ``authority``.
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
    """The login of one client by one method."""

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
        """Take how to log in, and who; ``secret`` is None for an unknown user."""
        self._method = method
        self._user = user
        self._secret = secret
        self._context = context
        self._salt = b""
        self._pending: str | tuple[str, bytes] = ""
        """What waits for the result of a Work: password, or mechanism and message."""
        self._scram: scram.ScramServer | None = None
        self._state = _NEW

    @property
    def state(self) -> ClientAuthState:
        """Where the login is."""
        return self._state

    def begin(self) -> list[ClientAuthCommand]:
        """Return the first commands: a question, or already the outcome."""
        if self._state is not _NEW:
            raise RuntimeError("a login begins once")
        if self._method is _MD5 and self._is_scram_user():
            return self._ask_scram()
        return _METHODS[self._method](self)

    def message(self, kind: int, body: bytes) -> list[ClientAuthCommand]:
        """Return the commands for one message of the client.

        After Accepted or Refused no message belongs here any more (RuntimeError).
        """
        if self._state in (_NEW, _DONE):
            raise RuntimeError("no message is expected before or after a login")
        if kind == c.TERMINATE:
            return self._refuse(SilentClose("client close request"))
        act = _TABLE.get(self._state)
        if act is None or kind != c.PASSWORD_MESSAGE:
            return self._refuse(SilentClose("bad packet"))
        try:
            return act(self, body)
        except Fault as fault:
            return self._refuse(fault)

    def offload_done(self, result: object) -> list[ClientAuthCommand]:
        """Return the commands for the result of a Work, None if it failed."""
        act = _RESULTS.get(self._state)
        if act is None:
            return []  # The client has not waited for it.
        try:
            return act(self, result)
        except Fault as fault:
            return self._refuse(fault)

    def _is_scram_user(self) -> bool:
        """Tell whether the user has a SCRAM secret, or would have if there were one."""
        if self._secret is None:
            return self._context.only_scram
        return self._secret.kind is _SCRAM_SECRET

    def _accept(self, outcome: Accepted) -> list[ClientAuthCommand]:
        self._state = _DONE
        return [outcome]

    def _refuse(self, fault: Fault) -> list[ClientAuthCommand]:
        self._state = _DONE
        return [Refused(fault)]

    # -------------------------------------------------------------- questions

    def _ask_nothing(self) -> list[ClientAuthCommand]:
        return self._accept(Accepted())

    def _ask_known(self) -> list[ClientAuthCommand]:
        if self._secret is None:
            return self._refuse(TrustFailed())
        return self._accept(Accepted())

    def _ask_nobody(self) -> list[ClientAuthCommand]:
        return self._refuse(LoginRejected())

    def _ask_certificate(self) -> list[ClientAuthCommand]:
        if self._secret is None or not self._context.is_proved:
            return self._refuse(CertificateFailed())
        return self._accept(Accepted())

    def _ask_system(self) -> list[ClientAuthCommand]:
        if self._secret is None or self._context.authority is None:
            return self._refuse(PeerRejected())
        self._state = ClientAuthState.PASSWORD_CHECK
        return [
            Offload(partial(self._context.authority, ""), self._user, is_external=True)
        ]

    def _ask_password(self) -> list[ClientAuthCommand]:
        self._state = ClientAuthState.PASSWORD
        return [Send(encode.auth_cleartext())]

    def _ask_md5(self) -> list[ClientAuthCommand]:
        self._state = ClientAuthState.MD5
        self._salt = self._context.random(c.MD5_SALT_SIZE)
        return [Send(encode.auth_md5(self._salt))]

    def _ask_scram(self) -> list[ClientAuthCommand]:
        self._state = _SASL_FIRST
        return [Send(_BINDING_OFFER if self._context.end_point else _OFFER)]

    def _is_offered(self, mechanism: str) -> bool:
        if mechanism == c.SCRAM_SHA_256_PLUS:
            return bool(self._context.end_point)
        return mechanism == c.SCRAM_SHA_256

    # ---------------------------------------------------------------- answers

    def _on_password(self, body: bytes) -> list[ClientAuthCommand]:
        password = decode.text(_answer(body))
        self._state = ClientAuthState.PASSWORD_CHECK
        self._pending = password
        if self._context.authority is not None:
            asking = partial(self._context.authority, password)
            return [Offload(asking, self._user, is_external=True)]
        check = partial(check_plain, self._secret, self._user, password)
        if not self._context.any_scram and not self._is_scram_user():
            return self._on_checked(check())
        if self._rounds() > self._context.iterations_max:
            # As if nobody had the name, which takes as long as ever.
            check = partial(check_plain, None, self._user, password)
        return [Offload(partial(check, decoy=self._mock()), self._user)]

    def _rounds(self) -> int:
        """Return how many iterations it takes to check a password; 0: it takes none."""
        verifier = None if self._secret is None else self._secret.verifier
        return 0 if verifier is None else verifier.iterations

    def _on_checked(self, result: object) -> list[ClientAuthCommand]:
        assert isinstance(self._pending, str)  # noqa: S101 - narrows the type
        is_unknown = self._secret is None and not self._context.trusts_authority
        if result is not True or is_unknown:
            limit = self._context.iterations_max
            if self._context.authority is None and self._rounds() > limit:
                raise VerifierTooSlow(iterations=self._rounds(), limit=limit)
            raise _WRONG[self._method]
        given = self._pending
        password = Secret(_CLEAR_SECRET, given) if given else None
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
        self._state = ClientAuthState.DERIVING_KEYS
        self._pending = mechanism, data
        salt = self._context.random(scram.SALT_SIZE)
        text = self._secret.value if self._secret else self._user
        derive_keys = partial(scram.make_verifier, text, salt, self._context.iterations)
        return [Offload(derive_keys, self._user)]

    def _verifier(self) -> scram.ScramVerifier | None:
        """Return what the proof is judged by; None if it is still to be made."""
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
        self._state = _SASL_FINAL
        return [Send(encode.auth_sasl_continue(answer))]

    def _on_sasl_final(self, body: bytes) -> list[ClientAuthCommand]:
        if self._scram is None:
            raise SaslFailed
        answer = self._scram.final(body)
        secret = self._secret
        if not secret or secret.kind is SecretKind.MD5:
            raise SaslFailed  # a mock login, which no proof can get this far
        keys = self._scram.keys if secret.kind is _SCRAM_SECRET else None
        return self._accept(Accepted(keys, last=encode.auth_sasl_final(answer)))

    def _mock(self) -> scram.ScramVerifier:
        """Return what no password fits, as it would be if there were such a user."""
        context = self._context
        return scram.mock_verifier(self._user, context.mock_seed, context.iterations)


_ZERO: Final = b"\0"
_OFFER: Final = encode.auth_sasl()
_BINDING_OFFER: Final = encode.auth_sasl((c.SCRAM_SHA_256_PLUS, c.SCRAM_SHA_256))
"""What is offered over TLS: the best first."""


def _answer(body: bytes) -> bytes:
    """Return the answer in a PasswordMessage; EmptyPassword if there is none."""
    if body in (b"", _ZERO):
        raise EmptyPassword
    try:
        return decode.password(body)
    except ProtocolViolation as violation:
        raise PasswordFailed from violation


# What happens, by method and by state: of the class above, so its own.
# ruff: noqa: SLF001

_METHODS: Final[
    Mapping[Method, Callable[[ClientAuthenticator], list[ClientAuthCommand]]]
] = MappingProxyType(
    {
        Method.ANY: ClientAuthenticator._ask_nothing,
        Method.TRUST: ClientAuthenticator._ask_known,
        Method.REJECT: ClientAuthenticator._ask_nobody,
        Method.CERT: ClientAuthenticator._ask_certificate,
        Method.PEER: ClientAuthenticator._ask_system,
        Method.PLAIN: ClientAuthenticator._ask_password,
        Method.LDAP: ClientAuthenticator._ask_password,
        Method.PAM: ClientAuthenticator._ask_password,
        Method.MD5: ClientAuthenticator._ask_md5,
        Method.SCRAM_SHA_256: ClientAuthenticator._ask_scram,
    },
)
"""Method to its question, or to its verdict where nothing need be asked."""

_WRONG: Final[Mapping[Method, type[Fault]]] = MappingProxyType(
    {
        Method.PLAIN: PasswordFailed,
        Method.PEER: PeerRejected,
        Method.LDAP: LdapFailed,
        Method.PAM: PamFailed,
    }
)
"""Method to what a client is sent if the password or the peer is wrong."""

_TABLE: Final[
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
"""State to what a PasswordMessage does there; no other state takes messages."""

_RESULTS: Final[
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
"""State to what the result of a Work does there."""
