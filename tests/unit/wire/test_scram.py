"""Tests of pgswitch/wire/scram.py."""

import hashlib
from base64 import b64encode
from contextlib import suppress
from dataclasses import replace
from hmac import digest

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramClient as OtherClient  # type: ignore[import-untyped]
from scramp import ScramMechanism

from pgswitch.errors import (
    BrokenPacket,
    Fault,
    SaslFailed,
    ServerSignatureInvalid,
    ServerSignatureNotVerified,
)
from pgswitch.wire import scram

# The example of RFC 7677, section 3.
SALT = b"[m\x99h\x9d\x12\x35\x8e\xec\xa0K\x14\x126\xfa\x81"
CLIENT_NONCE = b"rOprNGfwEbeRWgbNEkqO"
SERVER_NONCE = b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
CLIENT_FIRST = b"n,,n=user,r=" + CLIENT_NONCE
SERVER_FIRST = (
    b"r=" + CLIENT_NONCE + SERVER_NONCE + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
)
CLIENT_FINAL = (
    b"c=biws,r=" + CLIENT_NONCE + SERVER_NONCE
    + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)  # fmt: skip
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

VERIFIER = scram.make_verifier("pencil", SALT, 4096)
QUICK = scram.make_verifier("pencil", SALT, 1)


def serve(verifier: scram.ScramVerifier = VERIFIER) -> scram.ScramServer:
    """Return a server side that has answered the RFC's first message."""
    server = scram.ScramServer(verifier, SERVER_NONCE)
    server.first(CLIENT_FIRST)
    return server


def test_server_side_of_the_rfcs_example() -> None:
    """Every message is the RFC's, and the keys of the password are learnt."""
    server = scram.ScramServer(VERIFIER, SERVER_NONCE)
    assert server.first(CLIENT_FIRST) == SERVER_FIRST
    assert server.keys is None
    assert server.final(CLIENT_FINAL) == SERVER_FINAL
    assert server.keys == scram.keys_from_password("pencil", SALT, 4096)


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"p=tls-server-end-point,,n=,r=abc",
        b"n,a=other,n=,r=abc",
        b"n,,m=1,n=,r=abc",
        b"n,,n=",
        b"n,,n=,x=abc",
        b"n,,x=,r=abc",
        b"n,,n=,r=",
        b"n,,n=,r=a\x00b",
        b"n,,n=,r=\xc3\xa9",
        b"x,,n=,r=abc",
    ],
)
def test_first_messages_refused(first: bytes) -> None:
    """Channel binding, authzid, mandatory extensions and rubbish are refused."""
    with pytest.raises(SaslFailed):
        scram.ScramServer(QUICK, SERVER_NONCE).first(first)


@pytest.mark.parametrize(
    "first", [b"n,,n=,r=abc", b"y,,n=,r=abc", b"n,,n=other,r=abc,x=1"]
)
def test_first_messages_taken(first: bytes) -> None:
    """An empty user name as of libpq, flag y and optional extensions are fine."""
    answer = scram.ScramServer(QUICK, b"xyz").first(first)
    assert answer.startswith(b"r=abcxyz,s=")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"c=biws", b"c=eSws"),
        (b",r=r", b",r=x"),
        (b",p=dHzb", b",p=dHzc"),
        (b",p=dHzbZapW", b",p=dHzb"),
        (b",p=dHzb", b",p=!!!!"),
        (b",p=", b",q="),
        (b",p=", b"p="),
        (CLIENT_FINAL, b""),
        (CLIENT_FINAL, b","),
    ],
)
def test_final_messages_refused(old: bytes, new: bytes) -> None:
    """Anything but the right proof over the right words is refused."""
    assert old in CLIENT_FINAL
    server = serve()
    with pytest.raises(SaslFailed):
        server.final(CLIENT_FINAL.replace(old, new))
    assert server.keys is None


@pytest.mark.parametrize(
    "without_proof",
    [
        b"c=eSws,r=abcxyz",
        b"c=biws,r=abc",
        b"r=abcxyz,c=biws",
        b"c=biws",
    ],
)
def test_final_message_must_continue_its_exchange(without_proof: bytes) -> None:
    """A good proof over another channel binding or nonce is worth nothing."""
    server = scram.ScramServer(QUICK, b"xyz")
    heard = b"n=,r=abc," + server.first(b"n,,n=,r=abc") + b"," + without_proof
    signature = digest(QUICK.stored_key, heard, "sha256")
    client_key = scram.keys_from_password("pencil", SALT, 1).client_key
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    with pytest.raises(SaslFailed):
        server.final(without_proof + b",p=" + b64encode(proof))


def exchange(client: scram.ScramClient, keys: scram.ScramKeys) -> scram.ScramServer:
    """Return the server side after a whole exchange with the client side."""
    server = scram.ScramServer(QUICK, b"server")
    challenge = server.first(client.first())
    assert client.challenge(challenge) == (SALT, 1)
    client.verify(server.final(client.final(challenge, keys)))
    return server


@pytest.mark.parametrize("same_client_nonce", [True, False])
def test_a_replayed_proof(*, same_client_nonce: bool) -> None:
    """Heard on the way and sent again, it opens nothing: the server's nonce is new."""
    keys = scram.keys_from_password("pencil", SALT, 1)
    client = scram.ScramClient(b"client")
    first = client.first()
    heard = scram.ScramServer(QUICK, b"one")
    proof = client.final(heard.first(first), keys)
    heard.final(proof)
    again = scram.ScramServer(QUICK, b"two")
    again.first(first if same_client_nonce else b"n,,n=,r=other")
    with pytest.raises(SaslFailed):
        again.final(proof)


@pytest.mark.parametrize("nonce", [b"", b"clien", b"client", b"other-server"])
def test_a_wrong_nonce_of_the_server(nonce: bytes) -> None:
    """One that does not go on where ours ends is no answer to us."""
    client = scram.ScramClient(b"client")
    client.first()
    with pytest.raises(BrokenPacket):
        client.challenge(b"r=" + nonce + b",s=c2FsdA==,i=4096")


def test_both_sides_agree() -> None:
    """Our client logs in to our server, and its keys alone do so as well."""
    keys = scram.keys_from_password("pencil", SALT, 1)
    learnt = exchange(scram.ScramClient(b"client"), keys).keys
    assert learnt == keys
    assert exchange(scram.ScramClient(b"again"), learnt).keys == keys


def test_wrong_keys_do_not_log_in() -> None:
    """The keys of another password are refused."""
    keys = scram.keys_from_password("pencils", SALT, 1)
    with pytest.raises(SaslFailed):
        exchange(scram.ScramClient(b"client"), keys)


@pytest.mark.parametrize(
    "challenge",
    [
        b"",
        b"r=clientX,s=QQ==",
        b"r=client,s=QQ==,i=1",
        b"r=other,s=QQ==,i=1",
        b"r=clientX,s=,i=1",
        b"r=clientX,s=?,i=1",
        b"r=clientX,s=QQ==,i=0",
        b"r=clientX,s=QQ==,i=-1",
        b"r=clientX,s=QQ==,i=10000001",
        b"r=clientX,s=QQ==,i=" + b"9" * 5000,
        b"s=QQ==,r=clientX,i=1",
    ],
)
def test_challenges_refused(challenge: bytes) -> None:
    """A challenge that answers another client, or asks absurd work, is broken."""
    with pytest.raises(BrokenPacket):
        scram.ScramClient(b"client").challenge(challenge)


@pytest.mark.parametrize(
    ("signature", "fault"),
    [
        (b"v=" + b64encode(bytes(32)), ServerSignatureInvalid),
        (b"v=" + b64encode(bytes(31)), ServerSignatureNotVerified),
        (b"v=?", ServerSignatureNotVerified),
        (b"e=other-error", ServerSignatureNotVerified),
        (b"", ServerSignatureNotVerified),
    ],
)
def test_server_must_prove_itself(signature: bytes, fault: type[Fault]) -> None:
    """A wrong signature and an unreadable one are different errors."""
    client = scram.ScramClient(b"client")
    client.final(b"r=clientX,s=QQ==,i=1", scram.ScramKeys(bytes(32), bytes(32)))
    with pytest.raises(fault):
        client.verify(signature)


def test_signature_before_the_proof_is_refused() -> None:
    """A server cannot skip the exchange."""
    with pytest.raises(ServerSignatureNotVerified):
        scram.ScramClient(b"client").verify(b"v=" + b64encode(bytes(32)))


def test_another_client_logs_in_to_our_server() -> None:
    """An independent implementation agrees, extension-free and by its own hashing."""
    client = OtherClient(["SCRAM-SHA-256"], "bob", "pencil")
    server = scram.ScramServer(VERIFIER, b"server")
    client.set_server_first(server.first(client.get_client_first().encode()).decode())
    client.set_server_final(server.final(client.get_client_final().encode()).decode())
    assert server.keys is not None


def test_another_servers_stored_keys_are_ours() -> None:
    """An independent implementation derives the same verifier."""
    mechanism = ScramMechanism("SCRAM-SHA-256")
    salt, stored_key, server_key, rounds = mechanism.make_auth_info(
        "pencil", iteration_count=4096, salt=SALT
    )
    assert (salt, stored_key, server_key, rounds) == (
        VERIFIER.salt,
        VERIFIER.stored_key,
        VERIFIER.server_key,
        VERIFIER.iterations,
    )


# --------------------------------------------------------------------- verifiers


def test_verifier_text_round_trip() -> None:
    """The text form is PostgreSQL's and is read back."""
    text = str(VERIFIER)
    assert text.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
    assert scram.ScramVerifier.parse(text) == VERIFIER


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCRAM-SHA-256", "SCRAM-SHA-1"),
        ("$4096:", "$0:"),
        ("$4096:", "$x:"),
        ("W22Z", "W2Z"),
        ("W22ZaJ0SNY7soEsUEjb6gQ==", "A"),
        ("=:", ":"),
        ("$4096:", ":"),
    ],
)
def test_no_verifier(old: str, new: str) -> None:
    """A text that is nearly a verifier is none."""
    text = str(VERIFIER)
    assert old in text
    assert scram.ScramVerifier.parse(text.replace(old, new, 1)) is None


def test_verifier_with_short_keys_is_none() -> None:
    """Keys have 32 bytes."""
    assert scram.ScramVerifier.parse("SCRAM-SHA-256$1:QQ==$QQ==:QQ==") is None


def test_reprs_show_no_keys() -> None:
    """Nothing that would serve for a login gets into a log by accident."""
    keys = scram.keys_from_password("pencil", SALT, 1)
    assert repr(keys) == "ScramKeys()"
    assert "key" not in repr(VERIFIER)


def test_matches() -> None:
    """A clear password can be compared with a verifier."""
    assert scram.matches(QUICK, "pencil")
    assert not scram.matches(QUICK, "pencils")


def test_absurd_iterations_are_not_computed() -> None:
    """A verifier that would keep a thread busy for hours fits no password."""
    absurd = scram.ScramVerifier.parse(str(QUICK))
    assert absurd is not None
    for iterations in (scram.ITERATIONS_LIMIT + 1, 9_999_999_999):
        assert not scram.matches(replace(absurd, iterations=iterations), "pencil")


def test_mock_verifier_is_steady_and_fits_nothing() -> None:
    """Asking twice for an unknown user shows the same salt, another user another."""
    seed = hashlib.sha256(b"seed").digest()
    mock = scram.mock_verifier("bob", seed, 4096)
    assert mock == scram.mock_verifier("bob", seed, 4096)
    assert mock.salt == hashlib.sha256(b"bob" + seed).digest()[:16]
    assert mock.salt != scram.mock_verifier("bobby", seed, 4096).salt
    assert mock.salt != scram.mock_verifier("bob", bytes(32), 4096).salt
    assert mock.stored_key != mock.server_key


# --------------------------------------------------------------------- properties


@given(first=st.binary(max_size=60), final=st.binary(max_size=60))
def test_server_raises_only_faults(first: bytes, final: bytes) -> None:
    """Whatever a client sends, an answer or SaslFailed comes out."""
    server = scram.ScramServer(QUICK, b"server")
    for step, data in ((server.first, b"n,,n=,r=" + first), (server.final, final)):
        with suppress(SaslFailed):
            step(data)


@given(challenge=st.binary(max_size=60), signature=st.binary(max_size=60))
def test_client_raises_only_faults(challenge: bytes, signature: bytes) -> None:
    """Whatever a server sends, an answer or a Fault comes out."""
    client = scram.ScramClient(b"c")
    keys = scram.ScramKeys(bytes(32), bytes(32))
    with suppress(BrokenPacket):
        client.final(b"r=c" + challenge, keys)
    with pytest.raises((ServerSignatureInvalid, ServerSignatureNotVerified)):
        client.verify(signature)


# ----------------------------------------------------------------------- keyed hash


@given(key=st.binary(max_size=64), messages=st.lists(st.binary(), max_size=3))
def test_a_keyed_hash_is_an_hmac(key: bytes, messages: list[bytes]) -> None:
    """However often it is used (RFC 2104)."""
    keyed = scram.KeyedHash(key)
    for message in messages:
        assert keyed.digest(message) == digest(key, message, "sha256")


def test_few_keyed_hashes_are_kept() -> None:
    """Strangers by the thousand, each with a key of its own, fill no memory."""
    for number in range(scram._MAX_CACHED + 10):
        key = number.to_bytes(scram.KEY_SIZE, "big")
        assert scram._keyed_digest(key, b"m") == digest(key, b"m", "sha256")
        assert len(scram._cached_hashes) <= scram._MAX_CACHED
