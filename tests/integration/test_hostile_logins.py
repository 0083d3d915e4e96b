"""Proofs that are not the client's own, and a man in the middle of TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import psycopg
import pytest
from cryptography import x509

from pgswitch.demo.postgres import PostgresServer
from pgswitch.tls.certificates import end_point_of
from pgswitch.wire import encode
from pgswitch.wire.constants import SCRAM_SHA_256, SCRAM_SHA_256_PLUS
from pgswitch.wire.scram import ScramClient, keys_from_password
from testkit.pgwire import SSL_REQUEST, error_fields, startup
from tests.integration.running import PgSwitch, PgSwitchFactory, RawClient
from tests.integration.tls import HOST, Certificates, TlsClient
from tests.waiting import wait_until

LOGIN = startup("user", "scram", "database", "bench")
PASSWORD = "scram-secret"
FAILED = "SASL authentication failed"
CHUNK = 65536


@pytest.fixture
def pooler(tls_pgswitch: PgSwitchFactory, certificates: Certificates) -> PgSwitch:
    """Return a pooler whose clients log in by SCRAM, encrypted or not."""
    return tls_pgswitch(**certificates.for_clients("prefer"))


@pytest.fixture
def end_point(certificates: Certificates) -> bytes:
    """Return the hash of the certificate that clients are shown."""
    return hash_of(certificates.pooler[0])


def hash_of(path: Path) -> bytes:
    """Return what channel binding takes of a certificate."""
    return end_point_of(x509.load_pem_x509_certificate(path.read_bytes()))


class Proof:
    """One exchange of SCRAM, as far as the proof."""

    def __init__(
        self, client: RawClient, mechanism: str, end_point: bytes = b""
    ) -> None:
        """Begin it; ``challenge`` is what the pooler says, empty if it refused."""
        self.client = client
        self.nonce = b"fixed-for-the-test"
        self.scram = ScramClient(self.nonce, end_point, mechanism)
        client.send(LOGIN)
        assert client.read_message()[0] == b"R"
        self.first = self.scram.first()
        client.send(encode.sasl_initial_response(mechanism, self.first))
        kind, body = client.read_message()
        self.refusal = error_fields(body)["M"] if kind == b"E" else ""
        self.challenge = b"" if self.refusal else body[4:]

    def made(self) -> bytes:
        """Return the message with the proof."""
        keys = keys_from_password(PASSWORD, *self.scram.challenge(self.challenge))
        return self.scram.final(self.challenge, keys)

    def answer(self, final: bytes) -> str:
        """Send the last message; return the text of the refusal, empty for none."""
        self.client.send(encode.sasl_response(final))
        kind, body = self.client.read_message()
        return error_fields(body)["M"] if kind == b"E" else ""


def test_a_good_proof(
    pooler: PgSwitch, certificates: Certificates, end_point: bytes
) -> None:
    """So that the others fail for what is wrong with them, and for nothing else."""
    with TlsClient(pooler.port) as client:
        client.ask_for_tls(certificates)
        proof = Proof(client, SCRAM_SHA_256_PLUS, end_point)
        assert proof.answer(proof.made()) == ""


def test_a_replayed_proof(
    pooler: PgSwitch, certificates: Certificates, end_point: bytes
) -> None:
    """What opened one connection opens no other, by the same nonce of the client."""
    made = []
    for refused in ("", FAILED):
        with TlsClient(pooler.port) as client:
            client.ask_for_tls(certificates)
            proof = Proof(client, SCRAM_SHA_256_PLUS, end_point)
            made.append(proof.made())
            assert proof.answer(made[0]) == refused
    assert made[0] != made[1]


def test_a_wrong_nonce(pooler: PgSwitch) -> None:
    """A proof over another client's challenge."""
    with RawClient(pooler.port) as client:
        proof = Proof(client, SCRAM_SHA_256)
        proof.challenge = proof.challenge.replace(proof.nonce, proof.nonce + b"x", 1)
        assert proof.answer(proof.made()) == FAILED


def test_a_proof_for_another_certificate(
    pooler: PgSwitch, certificates: Certificates
) -> None:
    """The client has seen another certificate than ours: a man in the middle."""
    with TlsClient(pooler.port) as client:
        client.ask_for_tls(certificates)
        other = hash_of(certificates.foreign[0])
        proof = Proof(client, SCRAM_SHA_256_PLUS, other)
        assert proof.answer(proof.made()) == FAILED


def test_channel_binding_stripped(
    pooler: PgSwitch, certificates: Certificates, end_point: bytes
) -> None:
    """The client could bind, and says that it has not been offered it."""
    with TlsClient(pooler.port) as client:
        client.ask_for_tls(certificates)
        assert Proof(client, SCRAM_SHA_256, end_point).refusal == FAILED


def test_a_binding_where_nothing_can_be_bound_to(pooler: PgSwitch) -> None:
    """In clear the mechanism is not offered."""
    with RawClient(pooler.port) as client:
        refusal = Proof(client, SCRAM_SHA_256_PLUS, b"x" * 32).refusal
    assert refusal == "client selected an invalid SASL authentication mechanism"


# Between pgswitch and its server.


class Between:
    """Ends TLS of both sides, and forwards the bytes, changed or not."""

    def __init__(
        self, port: int, shown: tuple[Path, Path], change: Callable[[bytes], bytes]
    ) -> None:
        """``port`` is the server's, ``shown`` the certificate shown to its clients.

        ``change`` is applied to the server's bytes.
        """
        self._server = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*shown)
        self._change = change
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    def _begin(self, do: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=do, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._begin(self._serve, self._listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            assert client.recv(len(SSL_REQUEST)) == SSL_REQUEST
            client.sendall(b"S")
            inner = self._context.wrap_socket(client, server_side=True)
            trusting = ssl.create_default_context()
            trusting.check_hostname = False
            trusting.verify_mode = ssl.CERT_NONE
            outer = socket.create_connection(("127.0.0.1", self._server), timeout=10)
            outer.sendall(SSL_REQUEST)
            assert outer.recv(1) == b"S"
            outer = trusting.wrap_socket(outer)
            with inner, outer:
                # A login is a dialogue: each says something and waits.
                while asked := inner.recv(CHUNK):
                    outer.sendall(asked)
                    inner.sendall(self._change(outer.recv(CHUNK)))

    def stop(self) -> None:
        """End."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)


@contextmanager
def between(
    server: PostgresServer,
    certificates: Certificates,
    change: Callable[[bytes], bytes] = bytes,
) -> Iterator[int]:
    """Yield the port of a man in the middle, who has another certificate."""
    middle = Between(server.port, certificates.foreign, change)
    try:
        yield middle.port
    finally:
        middle.stop()


def stripped(said: bytes) -> bytes:
    """Return a server's offer without channel binding."""
    with_binding = encode.auth_sasl((SCRAM_SHA_256_PLUS, SCRAM_SHA_256))
    return said.replace(with_binding, encode.auth_sasl((SCRAM_SHA_256,)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (bytes, "SCRAM channel binding check failed"),
        (stripped, "SCRAM channel binding negotiation error"),
    ],
)
def test_somebody_before_the_server(
    tls_pgswitch: PgSwitchFactory,
    tls_postgres: PostgresServer,
    certificates: Certificates,
    change: Callable[[bytes], bytes],
    reason: str,
) -> None:
    """Even without certificate verification, a login is not passed on.

    Neither as it is, bound to the wrong certificate, nor with the binding taken out.
    """
    with between(tls_postgres, certificates, change) as port:
        pooler = tls_pgswitch(
            {"bench": f"host={HOST} port={port}"},
            server_tls_sslmode="require",
        )
        with pytest.raises(psycopg.OperationalError, match=reason):
            pooler.execute("SELECT 1")
        assert f"server login failed: FATAL {reason}" in pooler.log_text()
        pooler.stop()


class Greedy:
    """A server that asks for much work, and hangs up at once."""

    def __init__(self, iterations: int) -> None:
        """Begin to listen."""
        self.count = 0
        self._iterations = iterations
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, suppress(OSError):
                    connection.recv(CHUNK)
                    connection.sendall(encode.auth_sasl())
                    nonce = connection.recv(CHUNK).partition(b"r=")[2]
                    # Each time another salt, so that nothing can be kept.
                    self.count += 1
                    salt = b"%024d" % self.count
                    challenge = b"r=%bX,s=%b,i=%d" % (nonce, salt, self._iterations)
                    connection.sendall(encode.auth_sasl_continue(challenge))


@pytest.mark.parametrize("most", [200_000, 2_000_000])
def test_a_server_that_asks_for_much_work(
    pgswitch: PgSwitchFactory, postgres: PostgresServer, most: int
) -> None:
    """It delays no other server's clients, be it refused or just allowed."""
    with Greedy(2_000_000) as greedy:
        pooler = pgswitch(
            databases={
                "greedy": f"host=127.0.0.1 port={greedy.port} user=x password=y",
                "good": f"host=127.0.0.1 port={postgres.port} dbname=bench"
                f" user=scram password={PASSWORD}",
            },
            auth_type="any",
            server_login_retry=0.05,
            server_tls_sslmode="disable",
            scram_iterations_max=most,
        )
        with RawClient(pooler.port) as client:
            client.send(startup("user", "x", "database", "greedy"))
            if most < 2_000_000:
                text = client.read_error()["M"]
                assert "asks for 2000000 SCRAM iterations" in text
                pooler.wait_for_log("more than scram_iterations_max (200000)")
            else:
                wait_until(lambda: greedy.count > 20, "the server to have asked often")
            assert pooler.execute("SELECT 1", database="good") == [(1,)]
