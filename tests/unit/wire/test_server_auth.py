"""Tests of pgswitch/wire/server_auth.py."""

from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch import errors
from pgswitch.wire import constants as c
from pgswitch.wire import decode, encode, scram
from pgswitch.wire import server_auth as ls
from pgswitch.wire.client_auth import Send
from pgswitch.wire.password import Secret, md5_secret

BODY = slice(5, None)
"""The body of a typed message."""

STORED_VERIFIER = scram.make_verifier("pencil", b"salt", 1)
PLAIN, HASHED, STORED = map(
    Secret.of, ("pencil", md5_secret("bob", "pencil"), str(STORED_VERIFIER))
)
KEYS = scram.keys_from_password("pencil", b"salt", 1)
PAIRS = [("server_version", "18.6"), ("TimeZone", "UTC"), ("in_hot_standby", "off")]
GREETING = [
    *(encode.parameter_status(name, value) for name, value in PAIRS),
    encode.backend_key_data(b"12345678"),
]


def make(
    secret: Secret | None = PLAIN,
    keys: scram.ScramKeys | None = None,
    cache: ls.KeyCache | None = None,
) -> ls.ServerAuthenticator:
    """Return our login as bob."""
    return ls.ServerAuthenticator(
        "bob", secret, keys, random=lambda size: b"n" * size, cache=cache
    )


def tell(login: ls.ServerAuthenticator, *messages: bytes) -> list[ls.ServerAuthCommand]:
    """Give the login messages of the server, return all commands, work done."""
    found: list[ls.ServerAuthCommand] = []
    for raw in messages:
        for command in login.message(raw[0], raw[BODY]):
            if isinstance(command, ls.Offload):
                found += login.offload_done(command.call())
            else:
                found.append(command)
    return found


def sent(commands: list[ls.ServerAuthCommand]) -> bytes:
    """Return the bytes of commands that are nothing but one Send."""
    [command] = commands
    assert isinstance(command, Send)
    return command.data


def failure(commands: list[ls.ServerAuthCommand]) -> ls.Failed:
    """Return the last command, which is a failure."""
    assert isinstance(commands[-1], ls.Failed)
    return commands[-1]


def test_trusted_login() -> None:
    """Parameters are kept in their order, and the key."""
    login = make(None)
    commands = tell(login, encode.auth_ok(), *GREETING, encode.ready_for_query())
    [done] = commands
    assert isinstance(done, ls.LoginDone)
    assert list(done.parameters.items()) == PAIRS
    assert done.cancel_key == b"12345678"
    assert login.state is ls.ServerAuthState.DONE


def test_notices_and_negotiation_pass() -> None:
    """Neither a notice nor an older minor version stops the login."""
    key = b"k" * 260
    commands = tell(
        make(None),
        encode.negotiate_protocol_version(196608, ["_pq_.x"]),
        encode.auth_ok(),
        encode.notice_response(errors.SetIgnored()),
        encode.backend_key_data(key),
        encode.ready_for_query(),
    )
    assert commands == [ls.LoginDone({}, key)]


def test_key_is_optional() -> None:
    """A server, or a pooler in its place, may send no key."""
    commands = tell(make(None), encode.auth_ok(), encode.ready_for_query())
    assert commands == [ls.LoginDone({}, b"")]


# ------------------------------------------------------------- clear text and md5


def test_clear_text() -> None:
    """What is stored in clear is sent."""
    commands = tell(make(PLAIN), encode.auth_cleartext())
    assert sent(commands) == encode.password(PLAIN.value.encode())


@pytest.mark.parametrize("secret", [HASHED, STORED])
def test_password_substitutes_are_not_shown(secret: Secret) -> None:
    """It would be wrong, and the receiver could use it."""
    failed = failure(tell(make(secret), encode.auth_cleartext()))
    assert failed.reason == "cannot do password authentication: wrong password type"
    assert failed.client_fault is not None
    assert failed.client_fault.text == "server login failed: wrong password type"


def test_no_secret_is_an_empty_password() -> None:
    """The server then says in its own words what it thinks of it."""
    commands = tell(make(None), encode.auth_cleartext())
    assert sent(commands) == encode.password(b"")


@pytest.mark.parametrize("secret", [PLAIN, HASHED])
def test_md5(secret: Secret) -> None:
    """A clear and an MD5 secret give the same answer."""
    inner = md5(b"pencilbob").hexdigest().encode()
    right = b"md5" + md5(inner + b"salt").hexdigest().encode()
    commands = tell(make(secret), encode.auth_md5(b"salt"))
    assert sent(commands) == encode.password(right)


def test_md5_cannot_use_a_scram_secret() -> None:
    """The log has the reason, waiting clients get an error."""
    failed = failure(tell(make(STORED), encode.auth_md5(b"salt")))
    assert failed.reason == "cannot do MD5 authentication: wrong password type"
    assert failed.client_fault is not None
    assert failed.client_fault.text == "server login failed: wrong password type"


# -------------------------------------------------------------------------- SCRAM


def challenge(login: ls.ServerAuthenticator, server: scram.ScramServer) -> bytes:
    """Bring the login to its proof, return the proof."""
    [first] = tell(login, encode.auth_sasl(["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]))
    assert isinstance(first, Send)
    start = encode.sasl_initial_response("SCRAM-SHA-256", b"")
    data = first.data[len(start) :]
    [proof] = tell(login, encode.auth_sasl_continue(server.first(data)))
    assert isinstance(proof, Send)
    return proof.data[BODY]


@pytest.mark.parametrize(
    ("secret", "keys"),
    [(PLAIN, None), (STORED, KEYS), (PLAIN, scram.ScramKeys(b"", b""))],
)
def test_scram(secret: Secret, keys: scram.ScramKeys | None) -> None:
    """A password, or keys with a verifier, log in; the password goes first."""
    login, server = make(secret, keys), scram.ScramServer(STORED_VERIFIER, b"server")
    signature = server.final(challenge(login, server))
    commands = tell(
        login,
        encode.auth_sasl_final(signature),
        encode.auth_ok(),
        encode.ready_for_query(),
    )
    assert commands == [ls.LoginDone({}, b"")]


def test_stretching_is_for_a_thread() -> None:
    """Until it is done the server may say nothing; if it fails, so does the login."""
    for impatient in (True, False):
        login, server = make(), scram.ScramServer(STORED_VERIFIER, b"server")
        [first] = login.message(c.AUTHENTICATION, encode.auth_sasl()[BODY])
        assert isinstance(first, Send)
        start = encode.sasl_initial_response("SCRAM-SHA-256", b"")
        challenge = encode.auth_sasl_continue(server.first(first.data[len(start) :]))
        [work] = login.message(c.AUTHENTICATION, challenge[BODY])
        assert isinstance(work, ls.Offload)
        if impatient:
            failed = failure(login.message(c.AUTHENTICATION, encode.auth_ok()[BODY]))
            assert isinstance(failed.client_fault, errors.ServerSignatureNotVerified)
            assert login.offload_done(work.call()) == []
        else:
            assert (
                failure(login.offload_done(None)).reason == "failed to answer authreq"
            )


@pytest.mark.parametrize("iterations", [201, 2_147_483_647, 9_999_999_999])
def test_a_server_that_asks_for_much_work(iterations: int) -> None:
    """Gets none; the text has its number, for the log and for clients."""
    login = ls.ServerAuthenticator(
        "app", PLAIN, random=lambda size: b"x" * size, iterations_max=200
    )
    login.message(c.AUTHENTICATION, encode.auth_sasl()[BODY])
    nonce = scram.make_nonce(b"x" * scram.NONCE_SIZE)
    challenge = b"r=%bX,s=QQ==,i=%d" % (nonce, iterations)
    commands = login.message(
        c.AUTHENTICATION, encode.auth_sasl_continue(challenge)[BODY]
    )
    failed = failure(commands)
    assert failed.reason == (
        f"server login failed: the server asks for {iterations} SCRAM iterations,"
        " more than scram_iterations_max (200)"
    )
    assert isinstance(failed.client_fault, errors.ServerIterationsTooMany)


def test_the_last_that_is_allowed() -> None:
    """Is stretched; where keys are there, nothing has to be."""
    for secret, keys, most in ((PLAIN, None, 1), (STORED, KEYS, 0)):
        login = ls.ServerAuthenticator(
            "app", secret, keys, random=lambda size: b"x" * size, iterations_max=most
        )
        server = scram.ScramServer(STORED_VERIFIER, b"server")
        assert server.final(challenge(login, server))


def test_one_computes_for_all_that_wait() -> None:
    """Who stood in line meanwhile finds the keys made."""
    cache: ls.KeyCache = {}
    works = []
    for _ in range(2):
        login, server = make(cache=cache), scram.ScramServer(STORED_VERIFIER, b"server")
        [first] = login.message(c.AUTHENTICATION, encode.auth_sasl()[BODY])
        assert isinstance(first, Send)
        start = encode.sasl_initial_response("SCRAM-SHA-256", b"")
        answer = encode.auth_sasl_continue(server.first(first.data[len(start) :]))
        [work] = login.message(c.AUTHENTICATION, answer[BODY])
        assert isinstance(work, ls.Offload)
        works.append((login, work))
    (one, first_work), (_other, second_work) = works
    keys = first_work.call()
    one.offload_done(keys)
    assert second_work.call() is keys


def test_stretched_keys_are_kept() -> None:
    """The same password, salt and rounds are computed once."""
    cache: dict[tuple[Secret, bytes, int], scram.ScramKeys] = {}
    for _ in range(2):
        server = scram.ScramServer(STORED_VERIFIER, b"server")
        server.final(challenge(make(cache=cache), server))
    assert cache == {(PLAIN, b"salt", 1): KEYS}


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        (HASHED, "cannot do SCRAM authentication: wrong password type"),
        (
            STORED,
            (
                "cannot do SCRAM authentication: password is SCRAM secret but client "
                "authentication did not provide SCRAM keys"
            ),
        ),
    ],
)
def test_scram_without_means(secret: Secret, reason: str) -> None:
    """Neither an MD5 digest nor a bare verifier is a password."""
    failed = failure(tell(make(secret), encode.auth_sasl()))
    assert failed.reason == reason
    assert isinstance(failed.client_fault, errors.ServerLoginWrongPasswordType)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256-PLUS", "OAUTHBEARER"])
def test_no_common_mechanism(mechanism: str) -> None:
    """Nothing to bind to without TLS, and no OAuth; log and client hear of it."""
    failed = failure(tell(make(), encode.auth_sasl([mechanism])))
    assert isinstance(failed.client_fault, errors.ServerSaslUnsupported)
    assert mechanism in failed.reason
    assert mechanism in (failed.client_fault.detail or "")


@pytest.mark.parametrize(
    ("kind", "name"), [(2, "Kerberos"), (7, "GSSAPI"), (9, "SSPI")]
)
def test_methods_that_are_not_spoken(kind: int, name: str) -> None:
    """Log and client hear of them by name."""
    failed = failure(tell(make(), b"R\0\0\0\x08" + kind.to_bytes(4, "big")))
    assert name in failed.reason
    assert isinstance(failed.client_fault, errors.ServerAuthUnsupported)
    assert name in failed.client_fault.text


END_POINT = b"hash of the server's certificate"


@pytest.mark.parametrize(
    ("seen", "shown", "offered", "mechanism"),
    [
        (END_POINT, END_POINT, True, "SCRAM-SHA-256-PLUS"),
        (END_POINT, b"", False, "SCRAM-SHA-256"),
        (b"", END_POINT, True, "SCRAM-SHA-256"),
        (b"another", END_POINT, True, None),
        (END_POINT, END_POINT, False, None),
    ],
    ids=["bound", "not offered", "no TLS", "man in the middle", "offer stripped"],
)
def test_channel_binding(
    seen: bytes, shown: bytes, mechanism: str | None, *, offered: bool
) -> None:
    """Used where the server offers it; a lie on the way fails at the server."""
    login = make()
    login.end_point = seen
    names = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"] if offered else ["SCRAM-SHA-256"]
    [first] = tell(login, encode.auth_sasl(names))
    assert isinstance(first, Send)
    chosen, data = decode.sasl_initial_response(first.data[BODY])
    server = scram.ScramServer(STORED_VERIFIER, b"server", shown)

    def finish() -> None:
        [proof] = tell(login, encode.auth_sasl_continue(server.first(data, chosen)))
        assert isinstance(proof, Send)
        server.final(proof.data[BODY])

    if mechanism is None:
        with pytest.raises(errors.SaslFailed):
            finish()
    else:
        assert chosen == mechanism
        finish()


@pytest.mark.parametrize(
    ("message", "reason", "fault"),
    [
        (
            encode.auth_sasl_final(b"v=" + b"A" * 43 + b"="),
            "invalid server signature",
            errors.ServerSignatureInvalid,
        ),
        (
            encode.auth_sasl_final(b"e=no"),
            "failed to verify server signature",
            errors.ServerSignatureNotVerified,
        ),
        (
            encode.auth_ok(),
            "failed to verify server signature",
            errors.ServerSignatureNotVerified,
        ),
        (encode.ready_for_query(), "failed to answer authreq", type(None)),
        (encode.auth_sasl(), "failed to answer authreq", type(None)),
        (encode.auth_cleartext(), "failed to answer authreq", type(None)),
    ],
)
def test_server_that_proves_nothing(message: bytes, reason: str, fault: type) -> None:
    """An impostor who does not know the verifier is not believed."""
    login = make()
    challenge(login, scram.ScramServer(STORED_VERIFIER, b"server"))
    failed = failure(tell(login, message))
    assert failed.reason == reason
    assert type(failed.client_fault) is fault


def test_ok_in_place_of_a_challenge() -> None:
    """SCRAM once begun must be finished."""
    failed = failure(tell(make(), encode.auth_sasl(), encode.auth_ok()))
    assert isinstance(failed.client_fault, errors.ServerSignatureNotVerified)


# ----------------------------------------------------------------------- failures


def test_server_refuses() -> None:
    """Its severity, code and text are handed on."""
    raw = encode.message(
        c.ERROR_RESPONSE,
        b"SFATAL\0VFATAL\0C3D000\0Mdatabase does not exist\0Fx.c\0\0",
    )
    commands = tell(make(), raw)
    assert commands == [ls.ServerRefused("FATAL", "3D000", "database does not exist")]


def test_server_refuses_without_a_code() -> None:
    """Very old servers and other poolers leave fields out."""
    commands = tell(make(), encode.message(c.ERROR_RESPONSE, b"Mno\0\0"))
    assert commands == [ls.ServerRefused("FATAL", "08P01", "no")]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"R\0\0\0\x08\xff\xff\xff\xff", "unknown/unsupported auth method: 4294967295"),
        (b"R\0\0\0\x05\0", "broken Authentication packet"),
        (encode.ready_for_query(), "failed to answer authreq"),
        (encode.auth_sasl_continue(b""), "failed to answer authreq"),
        (encode.auth_sasl_final(b""), "failed to answer authreq"),
        (encode.command_complete("SELECT"), "unknown pkt from server"),
        (encode.message(c.PARAMETER_STATUS, b"a"), "broken ParameterStatus packet"),
        (encode.backend_key_data(b"short"), "broken BackendKeyData packet"),
        (encode.message(c.ERROR_RESPONSE, b""), "broken ErrorResponse packet"),
        (encode.message(c.NOTICE_RESPONSE, b""), "broken ErrorResponse packet"),
    ],
)
def test_servers_that_make_no_sense(message: bytes, reason: str) -> None:
    """The attempt ends with a reason for the log; clients go on waiting."""
    assert failure(tell(make(), message)) == ls.Failed(reason)


NAMES = [encode.parameter_status(f"p{one}", "") for one in range(1001)]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            [encode.parameter_status("p", "x" * 65_530)],
            "message 'S' of the server is too long: 65538 bytes",
        ),
        (
            [encode.parameter_status("p", "x" * 60_000)] * 18,
            "server sent more than 1048576 bytes in its login",
        ),
        (
            [encode.parameter_status("p", "")] * 10_000,
            "server sent more than 10000 messages in its login",
        ),
        (NAMES, "server reported more than 1000 parameters in its login"),
    ],
)
def test_a_server_that_talks_too_much(said: list[bytes], reason: str) -> None:
    """It is not listened to any more; a little less is taken."""
    login = make()
    assert failure(tell(login, encode.auth_ok(), *said)).reason == reason
    login = make()
    assert tell(login, encode.auth_ok(), *said[:-1]) == []


def test_second_ok_makes_no_sense() -> None:
    """There is one AuthenticationOk in a login."""
    commands = tell(make(None), encode.auth_ok(), encode.auth_ok())
    assert failure(commands).reason == "failed to answer authreq"


def test_no_message_after_the_outcome() -> None:
    """The caller passes messages on only while they belong here."""
    login = make()
    tell(login, encode.auth_ok(), encode.ready_for_query())
    with pytest.raises(RuntimeError):
        tell(login, encode.ready_for_query())


messages = st.sampled_from(
    [
        encode.auth_sasl(),
        encode.auth_sasl_continue(b"r=" + b"bm5u" * 6 + b"X,s=QQ==,i=1"),
        encode.auth_sasl_final(b"v=QQ=="),
        encode.auth_md5(b"salt"),
        encode.auth_ok(),
        *GREETING,
    ]
) | st.builds(
    encode.message,
    st.sampled_from(sorted(c.BACKEND_NAMES)),
    st.binary(max_size=20),
)


@given(st.lists(messages, max_size=6), st.sampled_from([None, PLAIN, HASHED, STORED]))
def test_every_login_stays_a_login(told: list[bytes], secret: Secret | None) -> None:
    """Whatever a server says, commands come out and no exception."""
    login = make(secret)
    for raw in told:
        commands = tell(login, raw)
        state: ls.ServerAuthState = login.state
        ended = bool(commands) and not isinstance(commands[-1], Send)
        assert ended is (state is ls.ServerAuthState.DONE)
        if ended:
            break
