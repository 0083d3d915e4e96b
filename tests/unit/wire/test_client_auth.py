"""Tests of pgswitch/wire/client_auth.py."""

from hashlib import md5, pbkdf2_hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch import errors
from pgswitch.types import Method
from pgswitch.wire import client_auth as lc
from pgswitch.wire import constants as c
from pgswitch.wire import encode, scram
from pgswitch.wire.password import Secret, md5_secret

BODY = slice(5, None)
"""The body of a typed message."""
AUTH_DATA = slice(9, None)
"""The data of an Authentication message."""

VERIFIER = str(scram.make_verifier("pencil", b"salt", 1))
PLAIN, HASHED, STORED = map(
    Secret.of, ("pencil", md5_secret("bob", "pencil"), VERIFIER)
)
SEED = bytes(range(32))


def fixed(size: int) -> bytes:
    """Return bytes that any dice could have thrown."""
    return b"1234567890abcdef1234567890abcdef"[:size]


def make(
    method: Method,
    secret: Secret | None,
    cache: lc.VerifierCache | None = None,
    **context: Any,  # noqa: ANN401 - as LoginContext has them
) -> lc.ClientAuthenticator:
    """Return the login of user bob."""
    return lc.ClientAuthenticator(
        method,
        "bob",
        secret,
        lc.LoginContext(
            random=fixed,
            mock_seed=SEED,
            iterations=1,
            cache={} if cache is None else cache,
            **context,
        ),
    )


def offload_done(
    login: lc.ClientAuthenticator, commands: list[lc.ClientAuthCommand]
) -> list[lc.ClientAuthCommand]:
    """Do the work that commands may ask for; return what comes of it."""
    if commands and isinstance(commands[0], lc.Offload):
        [work] = commands
        assert isinstance(work, lc.Offload)
        return login.offload_done(work.call())
    return commands


def sent(commands: list[lc.ClientAuthCommand]) -> bytes:
    """Return the bytes of commands that are nothing but one Send."""
    [command] = commands
    assert isinstance(command, lc.Send)
    return command.data


def accepted(
    commands: list[lc.ClientAuthCommand],
) -> tuple[scram.ScramKeys | None, Secret | None]:
    """Return what was shown, of commands that are nothing but one Accepted."""
    [command] = commands
    assert isinstance(command, lc.Accepted)
    return command.scram_keys, command.password


def refusal(commands: list[lc.ClientAuthCommand]) -> errors.Fault:
    """Return the fault of commands that are nothing but one Refused."""
    [command] = commands
    assert isinstance(command, lc.Refused)
    return command.fault


def answer(login: lc.ClientAuthenticator, message: bytes) -> list[lc.ClientAuthCommand]:
    """Give the login one message of the client, and have its work done."""
    return offload_done(login, login.message(message[0], message[BODY]))


def scram_through(
    login: lc.ClientAuthenticator, password: str
) -> list[lc.ClientAuthCommand]:
    """Return the last commands of an exchange with the password."""
    client = scram.ScramClient(b"client")
    assert sent(login.begin()) == encode.auth_sasl()
    first = encode.sasl_initial_response("SCRAM-SHA-256", client.first())
    challenge = sent(answer(login, first))[AUTH_DATA]
    keys = scram.keys_from_password(password, *client.challenge(challenge))
    commands = answer(login, encode.sasl_response(client.final(challenge, keys)))
    if isinstance(commands[0], lc.Accepted):
        client.verify(commands[0].last[AUTH_DATA])
    return commands


# ---------------------------------------------------------- any, trust, unusable


@pytest.mark.parametrize(
    ("method", "secret"),
    [(Method.ANY, None), (Method.ANY, PLAIN), (Method.TRUST, PLAIN)],
)
def test_nothing_to_show(method: Method, secret: Secret | None) -> None:
    """Under any everybody is let in, under trust every known user."""
    assert accepted(make(method, secret).begin()) == (None, None)


def test_trust_needs_a_known_user() -> None:
    """An unknown user is refused at once: no request can hide that."""
    fault = refusal(make(Method.TRUST, None).begin())
    assert isinstance(fault, errors.TrustFailed)


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (Method.REJECT, "login rejected"),
        (Method.CERT, "certificate authentication failed"),
        (Method.PEER, "unix socket login rejected"),
    ],
)
@pytest.mark.parametrize("secret", [PLAIN, None])
def test_nothing_to_ask(method: Method, text: str, secret: Secret | None) -> None:
    """Rejected, or without what proves it: refused at once, known or not."""
    assert refusal(make(method, secret).begin()).text == text


def test_a_certificate() -> None:
    """That is the user's lets it in, if it is known."""
    assert accepted(make(Method.CERT, PLAIN, is_proved=True).begin()) == (None, None)
    fault = refusal(make(Method.CERT, None, is_proved=True).begin())
    assert isinstance(fault, errors.CertificateFailed)


@pytest.mark.parametrize("verdict", [True, False, None])
def test_a_peer(verdict: bool | None) -> None:  # noqa: FBT001 - of the test
    """Is asked about in a thread; only a plain yes will do."""
    login = make(Method.PEER, PLAIN, authority=lambda _: verdict)
    commands = offload_done(login, login.begin())
    if verdict:
        assert accepted(commands) == (None, None)
    else:
        assert isinstance(refusal(commands), errors.PeerRejected)


@pytest.mark.parametrize(
    ("method", "fault"),
    [(Method.LDAP, errors.LdapFailed), (Method.PAM, errors.PamFailed)],
)
@pytest.mark.parametrize("verdict", [True, False, None, "yes"])
def test_offloaded_checks(
    method: Method, fault: type[errors.Fault], verdict: object
) -> None:
    """Hear the password in a thread; only a plain yes will do."""
    heard: list[str] = []

    def startup_cache(password: str) -> object:
        heard.append(password)
        return verdict

    login = make(method, None, authority=startup_cache)
    assert sent(login.begin()) == encode.auth_cleartext()
    [work] = login.message(c.PASSWORD_MESSAGE, b"pencil\0")
    assert isinstance(work, lc.Offload)
    assert work.is_external
    assert heard == []
    commands = login.offload_done(work.call())
    assert heard == ["pencil"]
    if verdict is True:
        assert accepted(commands) == (None, Secret.of("pencil"))
    else:
        assert isinstance(refusal(commands), fault)


@pytest.mark.parametrize("message", [(c.PASSWORD_MESSAGE, b"x\0"), (c.TERMINATE, b"")])
def test_nothing_is_said_before_the_verdict(message: tuple[int, bytes]) -> None:
    """A client that speaks meanwhile is gone, and its verdict helps it no more."""
    login = make(Method.PAM, None, authority=lambda _: True)
    login.begin()
    [work] = login.message(c.PASSWORD_MESSAGE, b"pencil\0")
    assert isinstance(work, lc.Offload)
    assert refusal(login.message(*message)).is_silent
    assert login.offload_done(work.call()) == []


def test_an_empty_password_is_refused(  # it would bind to a directory
) -> None:
    """It is refused before anybody is asked."""
    login = make(Method.LDAP, None, authority=lambda _: True)
    login.begin()
    fault = refusal(login.message(c.PASSWORD_MESSAGE, b"\0"))
    assert isinstance(fault, errors.EmptyPassword)


# --------------------------------------------------- what the answers do not tell


def test_unknown_users_are_asked_like_all_others() -> None:
    """Under md5 by SCRAM, where all have SCRAM secrets; else by md5."""
    for only, question in (
        (True, encode.auth_sasl()),
        (False, encode.auth_md5(b"1234")),
    ):
        login = make(Method.MD5, None, only_scram=only, any_scram=only)
        assert sent(login.begin()) == question


@pytest.mark.parametrize("secret", [None, PLAIN, HASHED, STORED])
def test_all_cost_the_same(
    secret: Secret | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where any user has a SCRAM secret, each password is stretched, once."""
    stretched: list[bytes] = []

    def counted(name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
        stretched.append(password)
        return pbkdf2_hmac(name, password, salt, iterations)

    monkeypatch.setattr(scram, "pbkdf2_hmac", counted)
    login = make(Method.PLAIN, secret, any_scram=True)
    login.begin()
    [work] = login.message(c.PASSWORD_MESSAGE, b"wrong\0")
    assert isinstance(work, lc.Offload)
    assert not work.is_external
    assert isinstance(refusal(login.offload_done(work.call())), errors.PasswordFailed)
    assert stretched == [b"wrong"]


# ---------------------------------------------------------------- channel binding

END_POINT = b"hash of our certificate"


def bound(
    login: lc.ClientAuthenticator, end_point: bytes, mechanism: str
) -> list[lc.ClientAuthCommand]:
    """Return the last commands of an exchange bound to a certificate."""
    client = scram.ScramClient(b"client", end_point, mechanism)
    login.begin()
    first = encode.sasl_initial_response(mechanism, client.first())
    commands = answer(login, first)
    if not isinstance(commands[0], lc.Send):
        return commands
    challenge = commands[0].data[AUTH_DATA]
    keys = scram.keys_from_password("pencil", *client.challenge(challenge))
    return answer(login, encode.sasl_response(client.final(challenge, keys)))


def test_binding_is_offered_first_over_tls() -> None:
    """And not at all without a certificate to bind to."""
    login = make(Method.SCRAM_SHA_256, STORED, end_point=END_POINT)
    assert sent(login.begin()) == encode.auth_sasl(
        (c.SCRAM_SHA_256_PLUS, c.SCRAM_SHA_256)
    )
    assert sent(make(Method.SCRAM_SHA_256, STORED).begin()) == encode.auth_sasl()


@pytest.mark.parametrize("secret", [STORED, PLAIN])
def test_a_bound_login(secret: Secret) -> None:
    """Lets in who has seen our certificate; its keys are as good as without."""
    login = make(Method.SCRAM_SHA_256, secret, end_point=END_POINT)
    *_, outcome = bound(login, END_POINT, c.SCRAM_SHA_256_PLUS)
    assert isinstance(outcome, lc.Accepted)
    keys = outcome.scram_keys
    expected = scram.keys_from_password("pencil", b"salt", 1)
    assert keys == (expected if secret is STORED else None)


@pytest.mark.parametrize(
    ("ours", "theirs", "mechanism"),
    [
        (END_POINT, b"another certificate", c.SCRAM_SHA_256_PLUS),
        (END_POINT, END_POINT, c.SCRAM_SHA_256),
        (b"", END_POINT, c.SCRAM_SHA_256_PLUS),
    ],
    ids=["man in the middle", "offer stripped on the way", "not offered"],
)
def test_binding_that_fails(ours: bytes, theirs: bytes, mechanism: str) -> None:
    """A man in the middle: refused, whatever the password."""
    login = make(Method.SCRAM_SHA_256, STORED, end_point=ours)
    fault = refusal(bound(login, theirs, mechanism))
    assert isinstance(fault, errors.SaslFailed | errors.SaslMechanismInvalid)


def test_a_client_that_cannot_bind() -> None:
    """May log in without, over TLS too."""
    login = make(Method.SCRAM_SHA_256, STORED, end_point=END_POINT)
    *_, outcome = bound(login, b"", c.SCRAM_SHA_256)
    assert isinstance(outcome, lc.Accepted)


# ------------------------------------------------------------------ clear text


@pytest.mark.parametrize("secret", [PLAIN, HASHED, STORED])
def test_plain(secret: Secret) -> None:
    """A clear password fits any kind of secret and is kept for the servers."""
    login = make(Method.PLAIN, secret)
    assert sent(login.begin()) == encode.auth_cleartext()
    commands = answer(login, encode.password(b"pencil"))
    assert accepted(commands) == (None, PLAIN)
    assert login.state is lc.ClientAuthState.DONE


@pytest.mark.parametrize(
    ("secret", "body", "text"),
    [
        (PLAIN, b"pencils\0", "password authentication failed"),
        (None, b"pencil\0", "password authentication failed"),
        (Secret.of(""), b"pencil\0", "password authentication failed"),
        (PLAIN, b"pencil", "password authentication failed"),
        (PLAIN, b"pencil\0x", "password authentication failed"),
        (PLAIN, b"\0", "empty password returned by client"),
        (PLAIN, b"", "empty password returned by client"),
        (None, b"\0", "empty password returned by client"),
    ],
)
@pytest.mark.parametrize("method", [Method.PLAIN, Method.MD5])
def test_password_refused(
    method: Method, secret: Secret | None, body: bytes, text: str
) -> None:
    """Wrong password and unknown user look the same, an empty answer does not."""
    login = make(method, secret)
    login.begin()
    assert refusal(login.message(c.PASSWORD_MESSAGE, body)).text == text


# ------------------------------------------------------------------------- md5


@pytest.mark.parametrize("secret", [PLAIN, HASHED])
def test_md5(secret: Secret) -> None:
    """The answer is over the salt that was sent."""
    login = make(Method.MD5, secret)
    assert sent(login.begin()) == encode.auth_md5(b"1234")
    inner = md5(b"pencilbob").hexdigest().encode()
    right = b"md5" + md5(inner + b"1234").hexdigest().encode()
    assert accepted(answer(login, encode.password(right))) == (None, None)


def test_md5_asks_unknown_users_too() -> None:
    """The first message does not tell whether the user exists."""
    known, unknown = make(Method.MD5, PLAIN), make(Method.MD5, None)
    assert sent(known.begin()) == sent(unknown.begin())


def test_md5_with_a_scram_secret_is_scram() -> None:
    """A verifier cannot serve MD5, so SCRAM is done instead."""
    commands = scram_through(make(Method.MD5, STORED), "pencil")
    assert isinstance(commands[-1], lc.Accepted)


# ----------------------------------------------------------------------- SCRAM


def test_scram_with_a_stored_verifier_yields_keys() -> None:
    """The keys of the client are learnt, to log in to its servers with."""
    login = make(Method.SCRAM_SHA_256, STORED)
    commands = scram_through(login, "pencil")
    keys = scram.keys_from_password("pencil", b"salt", 1)
    assert accepted(commands) == (keys, None)
    assert login.state is lc.ClientAuthState.DONE


def test_scram_with_a_clear_secret_yields_none() -> None:
    """Keys of a verifier of our own making fit no server."""
    commands = scram_through(make(Method.SCRAM_SHA_256, PLAIN), "pencil")
    assert accepted(commands) == (None, None)


def test_made_verifiers_are_kept() -> None:
    """A clear secret is stretched once, again for another number of rounds."""
    cache: dict[tuple[str, Secret], scram.ScramVerifier] = {}
    scram_through(make(Method.SCRAM_SHA_256, PLAIN, cache), "pencil")
    [(name, made)] = cache.items()
    assert name == ("bob", PLAIN)
    scram_through(make(Method.SCRAM_SHA_256, PLAIN, cache), "pencil")
    assert cache[name] is made
    cache[name] = scram.make_verifier("pencil", b"old", 2)
    scram_through(make(Method.SCRAM_SHA_256, PLAIN, cache), "pencil")
    assert cache[name] == made


@pytest.mark.parametrize(
    ("secret", "password"),
    [
        (STORED, "pencils"),
        (PLAIN, "pencils"),
        (HASHED, "pencil"),
        (None, "pencil"),
        (Secret.of(""), ""),
    ],
)
def test_scram_refused(secret: Secret | None, password: str) -> None:
    """Wrong passwords, MD5 secrets, empty ones and unknown users look the same."""
    login = make(Method.SCRAM_SHA_256, secret)
    fault = refusal(scram_through(login, password))
    assert fault.text == "SASL authentication failed"


def test_unknown_user_gets_a_steady_salt() -> None:
    """The mock login shows the same salt each time."""
    first = encode.sasl_initial_response("SCRAM-SHA-256", b"n,,n=,r=x")
    logins = [make(Method.SCRAM_SHA_256, None) for _ in range(2)]
    for login in logins:
        login.begin()
    assert len({sent(answer(login, first)) for login in logins}) == 1


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            encode.sasl_initial_response("SCRAM-SHA-256-PLUS", b"p=x,,n=,r=x"),
            "client selected an invalid SASL authentication mechanism",
        ),
        (
            encode.password(b"md5"),
            "client selected an invalid SASL authentication mechanism",
        ),
        (
            encode.sasl_response(b""),
            "client selected an invalid SASL authentication mechanism",
        ),
        (encode.password(b"SCRAM-SHA-256"), "SASL authentication failed"),
        (
            encode.sasl_initial_response("SCRAM-SHA-256", b"p=x,,n=,r=x"),
            "SASL authentication failed",
        ),
    ],
)
def test_first_sasl_message_refused(message: bytes, text: str) -> None:
    """Another mechanism has its own text, all else the common one."""
    login = make(Method.SCRAM_SHA_256, STORED)
    login.begin()
    assert refusal(answer(login, message)).text == text


# ----------------------------------------------------------------- other messages


@pytest.mark.parametrize("method", [Method.PLAIN, Method.MD5, Method.SCRAM_SHA_256])
@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (encode.query("SELECT 1"), "bad packet"),
        (encode.sync(), "bad packet"),
        (encode.terminate(), "client close request"),
    ],
)
def test_no_password(method: Method, message: bytes, reason: str) -> None:
    """Another message in the middle of a login ends it without an answer."""
    login = make(method, PLAIN)
    login.begin()
    fault = refusal(answer(login, message))
    assert fault.is_silent
    assert fault.text == reason


def test_no_message_before_the_question_or_after_the_outcome() -> None:
    """The caller passes messages on only while they belong here."""
    login = make(Method.TRUST, PLAIN)
    with pytest.raises(RuntimeError):
        login.message(c.PASSWORD_MESSAGE, b"x\0")
    login.begin()
    with pytest.raises(RuntimeError):
        login.message(c.PASSWORD_MESSAGE, b"x\0")
    with pytest.raises(RuntimeError):
        login.begin()


def test_reprs_show_no_secrets() -> None:
    """Commands may be logged."""
    commands = (lc.Send(b"secret"), lc.Accepted(password=Secret.of("secret")))
    assert "secret" not in repr(commands)


kinds = st.sampled_from([c.PASSWORD_MESSAGE] * 6 + [c.QUERY, c.TERMINATE, 0, 255])


@given(
    method=st.sampled_from(Method),
    secret=st.sampled_from([None, PLAIN, HASHED, STORED]),
    messages=st.lists(
        st.tuples(
            kinds,
            st.binary(max_size=30) | st.just(b"SCRAM-SHA-256\0\0\0\0\x09n,,n=,r=x"),
        ),
        max_size=4,
    ),
)
def test_every_login_stays_a_login(
    method: Method, secret: Secret | None, messages: list[tuple[int, bytes]]
) -> None:
    """Any bytes lead to commands, and let no client in by luck."""
    login = make(method, secret, authority=lambda _: False)
    commands = offload_done(login, login.begin())
    for kind, body in messages:
        if login.state is lc.ClientAuthState.DONE:
            break
        commands = offload_done(login, login.message(kind, body))
        assert not any(isinstance(command, lc.Accepted) for command in commands)
    assert commands
