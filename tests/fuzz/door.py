"""What is tried: a connection that sends anything at all, to the real service.

No user here has a password that could be guessed, so whatever is sent, the outcome is
one of three: the connection is closed, or it waits, or it is refused with an error.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pgswitch.net.frontend import ANSWER_LIMIT, LOGIN_LIMIT
from pgswitch.relay.stream import SMALL_READ
from pgswitch.tls.certificates import TlsFacts
from pgswitch.wire import encode, scram
from tests.fakes.messages import GSSENC_REQUEST, message
from tests.fakes.world import Client, World

METHODS = ("plain", "md5", "scram-sha-256", "hba")
SECRET = "c0ffee" * 10
VERIFIER = scram.make_verifier(SECRET, b"salt", 1)
USERS = f'"app" "{SECRET}"\n"stored" "{VERIFIER}"\n"empty" ""\n"admin" "{SECRET}"\n'
HBA = """
host all stored all scram-sha-256
host all empty 192.0.2.0/24 password
host /^d all all md5
hostssl all all .example cert
host replication,sameuser app samenet reject
"""
TLS = TlsFacts(description="TLSv1.3", peer_names=("nobody",), end_point=b"hash" * 8)
STARTED = encode.startup([("user", "stored"), ("database", "db")])
SCRAM = b"SCRAM-SHA-256\0\0\0\0\x14n,,n=,r=fyko+d2lbbFgO"

SEEDS = (
    encode.ssl_request(),
    GSSENC_REQUEST,
    encode.cancel_request(b"12345678"),
    encode.cancel_request(b"12345678" * 32),
    STARTED,
    encode.startup_3_2([("user", "app"), ("_pq_.x", "y"), ("options", "-c a=b --c=d")]),
    encode.startup(
        [("user", "app"), ("replication", "true"), ("database", "pgbouncer")]
    ),
    STARTED + message(b"p", b"guess\0"),
    STARTED + message(b"p", b"md5" + b"0" * 32 + b"\0"),
    STARTED + message(b"p", SCRAM),
    STARTED + message(b"p", SCRAM) + message(b"p", b"c=biws,r=x,p=" + b"A" * 44),
    STARTED
    + message(b"p", b"SCRAM-SHA-256-PLUS\0\0\0\0\x20p=tls-server-end-point,,n=,r=abc"),
    *(
        STARTED
        + message(b"p", encode.sasl_initial_response("SCRAM-SHA-256", first)[5:])
        for first in (b"", b"n,,", b"n,,x", b"n,,m=x,r=a", b"y,,n=,r=", b"p=x,,n=,r=a")
    ),
    STARTED + message(b"X"),
    STARTED + message(b"Q", b"SELECT 1\0"),
    b"\x16\3\1\2\0",
)
"""Sensible beginnings, which mutations start from."""


class Door:
    """One service for each method, and strangers who knock."""

    def __init__(self, worlds: list[World]) -> None:
        """Take the services."""
        self._worlds = worlds

    def knock(self, data: bytes) -> None:
        """Send bytes on a new connection; AssertionError if the outcome is none.

        The first two bytes choose the service, whether TLS is on, and the cuts.
        """
        if len(data) < 2:
            return
        world = self._worlds[data[0] % len(self._worlds)]
        client = world.connect()
        if data[0] & 0x80:
            client.frontend.tls = TLS
        step = data[1] or len(data)
        rest = data[2:]
        for at in range(0, len(rest), step):
            if client.is_gone():
                break
            client.say(rest[at : at + step])
            self._check(client)
        if not client.is_gone():
            client.drop()
        assert client.frontend.closed
        assert not world.service.login_service.clients
        assert not world.service.login_service.client_counts.of_user
        assert not any("Traceback" in line for line in world.log[-5:])

    def _check(self, client: Client) -> None:
        frontend, stream = client.frontend, client.frontend.stream
        assert not frontend.logged_in
        assert frontend.pool is None
        held = stream._held_size if stream.wanted else 0
        most = LOGIN_LIMIT if frontend._authenticator is None else ANSWER_LIMIT
        assert held + sum(map(len, stream.held)) <= most + SMALL_READ
        answer = client.hear()
        # An answer is whole: one byte, or messages of which the last may be an error.
        assert answer == b"N" * len(answer) or answer[:1] in b"REv"


class ListenerControl:
    """Builds the services, and takes them down."""

    def __init__(self) -> None:
        """Begin with none."""
        self._stack = ExitStack()

    def __enter__(self) -> Door:
        """Return the door."""
        patch = self._stack.enter_context(pytest.MonkeyPatch.context())
        return Door([self._world(method, patch) for method in METHODS])

    def __exit__(self, *_: object) -> None:
        """Take all down."""
        self._stack.close()

    def _world(self, method: str, patch: pytest.MonkeyPatch) -> World:
        folder = Path(self._stack.enter_context(TemporaryDirectory()))
        (folder / "hba").write_text(HBA)
        settings = (
            f"auth_type = {method}\nauth_hba_file = {folder}/hba\n"
            "log_connections = 0\nlog_disconnections = 0\nlog_pooler_errors = 0\n"
            "scram_iterations = 1"
        )
        world = World(folder, patch, settings=settings)
        (folder / "users.txt").write_text(USERS)
        world.reload(settings=settings)
        return world


def mutations(dice: random.Random) -> Iterator[bytes]:
    """Yield inputs without end: seeds cut, joined, repeated, with bytes changed."""
    while True:
        data = bytearray(dice.randbytes(2))
        for _ in range(dice.randint(1, 3)):
            data += dice.choice(SEEDS)
        for _ in range(dice.randint(0, 6)):
            at = dice.randrange(len(data))
            match dice.randrange(5):
                case 0:
                    data[at] = dice.randrange(256)
                case 1:
                    del data[at : at + dice.randint(1, 8)]
                case 2:
                    data[at:at] = dice.randbytes(dice.randint(1, 8))
                case 3:
                    data[at:at] = bytes([dice.choice(b"\0,=prnc\xff")]) * dice.choice(
                        (1, 4, 300, 20_000)
                    )
                case _:
                    data[at:] = data[: dice.randint(0, 40)] + data[at:]
            if not data:
                data += b"\0"
        yield bytes(data)
