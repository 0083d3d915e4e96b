"""A client logging in to us: messages in, commands out, no sockets.

The machine starts behind the startup packet, when it is known who wants to log in
and by which method. Its rules:

* An unknown user is asked just like a known one (a mock login), so that the refusal
  does not tell which of name and password was wrong. Only ``trust`` cannot hide it.
* ``md5`` for a user whose secret is a SCRAM verifier is done by SCRAM, as PostgreSQL
  does.
* Texts and SQLSTATE of the refusals are PgBouncer's.

What happens by method and by state is two tables at the end of the class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from enum import Enum, auto
from types import MappingProxyType
from typing import ClassVar, Final

from pgswitch.errors import (
    BouncerConfigError,
    EmptyPassword,
    Fault,
    PasswordFailed,
    ProtocolViolation,
    SaslFailed,
    SaslMechanismInvalid,
    SilentClose,
    TrustFailed,
)
from pgswitch.types import AuthType
from pgswitch.wire import constants as c
from pgswitch.wire import decode, encode, scram
from pgswitch.wire.password import Secret, SecretKind, check_md5, check_plain

Random = Callable[[int], bytes]
"""Gives that many unpredictable bytes (``os.urandom``)."""

VerifierCache = MutableMapping[tuple[str, Secret], scram.ScramVerifier]
"""Verifiers made from clear secrets, so that each is stretched only once."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send these bytes to the client."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The client is who it says; nothing has been sent about it yet.

    ``scram_keys`` are there if it proved itself against a stored SCRAM verifier,
    ``password`` if it sent its password in clear: what its servers can be logged in
    to with.
    """

    scram_keys: scram.ScramKeys | None = field(default=None, repr=False)
    password: Secret | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """Tell the client of the fault (unless it is silent) and close."""

    fault: Fault


Command = Send | Accepted | Refused


class State(Enum):
    """Where a client's login is."""

    NEW = auto()
    PASSWORD = auto()
    MD5 = auto()
    SASL_FIRST = auto()
    SASL_FINAL = auto()
    DONE = auto()


class ClientLogin:
    """The login of one client by one method."""

    __slots__ = (
        "_cache",
        "_iterations",
        "_method",
        "_mock_seed",
        "_random",
        "_salt",
        "_scram",
        "_secret",
        "_state",
        "_user",
    )

    def __init__(
        self,
        method: AuthType,
        user: str,
        secret: Secret | None,
        *,
        random: Random,
        mock_seed: bytes,
        iterations: int = scram.DEFAULT_ITERATIONS,
        cache: VerifierCache | None = None,
    ) -> None:
        """Take how to log in, and who.

        ``secret`` is None for an unknown user. ``mock_seed`` is 32 random bytes kept
        for the life of the process. ``iterations`` is the setting
        ``scram_iterations``, for verifiers made from clear secrets.
        """
        self._method = method
        self._user = user
        self._secret = secret
        self._random = random
        self._mock_seed = mock_seed
        self._iterations = iterations
        self._cache = {} if cache is None else cache
        self._salt = b""
        self._scram: scram.ScramServer | None = None
        self._state = State.NEW

    @property
    def state(self) -> State:
        """Where the login is."""
        return self._state

    def begin(self) -> list[Command]:
        """Return the first commands: a question, or already the outcome."""
        if self._state is not State.NEW:
            raise RuntimeError("a login begins once")
        if self._method is AuthType.MD5 and self._has_verifier:
            return self._ask_scram()
        ask = self._METHODS.get(self._method)
        if ask is not None:
            return ask(self)
        reason = f"The authentication method {self._method} cannot be used here."
        return self._refuse(BouncerConfigError(detail=reason))

    def message(self, kind: int, body: bytes) -> list[Command]:
        """Return the commands for one message of the client.

        After Accepted or Refused no message belongs here any more (RuntimeError).
        Costs the iterations of a SCRAM verifier when a clear password is compared
        with one, and when one is made from a clear secret for the first time.
        """
        act = self._TABLE.get(self._state)
        if act is None:
            raise RuntimeError("no message is expected before or after a login")
        if kind == c.TERMINATE:
            return self._refuse(SilentClose("client close request"))
        if kind != c.PASSWORD_MESSAGE:
            return self._refuse(SilentClose("bad packet"))
        try:
            return act(self, body)
        except Fault as fault:
            return self._refuse(fault)

    @property
    def _has_verifier(self) -> bool:
        return self._secret is not None and self._secret.kind is SecretKind.SCRAM

    def _accept(self, outcome: Accepted) -> list[Command]:
        self._state = State.DONE
        return [outcome]

    def _refuse(self, fault: Fault) -> list[Command]:
        self._state = State.DONE
        return [Refused(fault)]

    # -------------------------------------------------------------- questions

    def _ask_nothing(self) -> list[Command]:
        return self._accept(Accepted())

    def _ask_known(self) -> list[Command]:
        if self._secret is None:
            return self._refuse(TrustFailed())
        return self._accept(Accepted())

    def _ask_password(self) -> list[Command]:
        self._state = State.PASSWORD
        return [Send(encode.auth_cleartext())]

    def _ask_md5(self) -> list[Command]:
        self._state = State.MD5
        self._salt = self._random(c.MD5_SALT_SIZE)
        return [Send(encode.auth_md5(self._salt))]

    def _ask_scram(self) -> list[Command]:
        self._state = State.SASL_FIRST
        return [Send(encode.auth_sasl())]

    # ---------------------------------------------------------------- answers

    def _on_password(self, body: bytes) -> list[Command]:
        password = decode.text(_answer(body))
        secret = self._secret
        if secret is None or not check_plain(secret, self._user, password):
            raise PasswordFailed
        return self._accept(Accepted(password=Secret(SecretKind.PLAIN, password)))

    def _on_md5(self, body: bytes) -> list[Command]:
        answer = _answer(body)
        secret = self._secret
        if secret is None or not check_md5(secret, self._user, self._salt, answer):
            raise PasswordFailed
        return self._accept(Accepted())

    def _on_sasl_first(self, body: bytes) -> list[Command]:
        try:
            mechanism, data = decode.sasl_initial_response(body)
        except ProtocolViolation as violation:
            raise SaslFailed from violation
        if mechanism != c.SCRAM_SHA_256:
            raise SaslMechanismInvalid
        nonce = scram.make_nonce(self._random(scram.NONCE_SIZE))
        self._scram = scram.ScramServer(self._verifier(), nonce)
        answer = self._scram.first(data)
        self._state = State.SASL_FINAL
        return [Send(encode.auth_sasl_continue(answer))]

    def _on_sasl_final(self, body: bytes) -> list[Command]:
        if self._scram is None:
            raise SaslFailed
        answer = self._scram.final(body)
        secret = self._secret
        if not secret or secret.kind is SecretKind.MD5:
            raise SaslFailed  # a mock login, which no proof can get this far
        keys = self._scram.keys if secret.kind is SecretKind.SCRAM else None
        outcome = self._accept(Accepted(scram_keys=keys))
        return [Send(encode.auth_sasl_final(answer)), *outcome]

    def _verifier(self) -> scram.ScramVerifier:
        """Return what the client has to fit: stored, made, or a mock."""
        secret = self._secret
        if secret is not None and secret.verifier is not None:
            return secret.verifier
        if not secret or secret.kind is not SecretKind.PLAIN:
            return scram.mock_verifier(self._user, self._mock_seed, self._iterations)
        name = (self._user, secret)
        verifier = self._cache.get(name)
        if verifier is None or verifier.iterations != self._iterations:
            salt = self._random(scram.SALT_SIZE)
            verifier = scram.make_verifier(secret.value, salt, self._iterations)
            self._cache[name] = verifier
        return verifier

    _METHODS: ClassVar[Mapping[AuthType, Callable[[ClientLogin], list[Command]]]] = (
        MappingProxyType(
            {
                AuthType.ANY: _ask_nothing,
                AuthType.TRUST: _ask_known,
                AuthType.PLAIN: _ask_password,
                AuthType.MD5: _ask_md5,
                AuthType.SCRAM_SHA_256: _ask_scram,
            },
        )
    )
    """Method to its question; the others need more than messages."""

    _TABLE: ClassVar[Mapping[State, Callable[[ClientLogin, bytes], list[Command]]]] = (
        MappingProxyType(
            {
                State.PASSWORD: _on_password,
                State.MD5: _on_md5,
                State.SASL_FIRST: _on_sasl_first,
                State.SASL_FINAL: _on_sasl_final,
            }
        )
    )
    """State to what a PasswordMessage does there; no other state takes messages."""


_ZERO: Final = b"\0"


def _answer(body: bytes) -> bytes:
    """Return the answer in a PasswordMessage; EmptyPassword if there is none."""
    if body in (b"", _ZERO):
        raise EmptyPassword
    try:
        return decode.password(body)
    except ProtocolViolation as violation:
        raise PasswordFailed from violation
