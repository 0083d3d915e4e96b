"""The same poolers once more, with TLS on both sides: a server, a key, their loads."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from bench.contenders import Contender
from bench.loads import CONNECT, Amounts, Load, connecting, measured, memory
from bench.programs import Programs
from bench.rows import OURS, REFERENCE
from bench.stage import SCALE, Stage, build
from pgswitch.demo.account import Account, hand_over
from pgswitch.demo.installations import Installation

KEY_BITS = 2048
"""As ``openssl req`` makes them: what most servers have."""
INI = """\
client_tls_sslmode = require
client_tls_cert_file = {certificate}
client_tls_key_file = {key}
server_tls_sslmode = require
"""
MEMORY = "memory by TLS"


def encrypted(racers: Sequence[Contender]) -> list[Contender]:
    """Return the two poolers that matter as they are when they speak TLS."""
    return [
        replace(racer, template=racer.template + INI, is_encrypted=True, lacks={})
        for racer in racers
        if racer.name in {OURS, REFERENCE}
    ]


def has_tls(installation: Installation) -> bool:
    """Tell whether a server of an installation can speak TLS; the wheel's cannot."""
    return installation.source != "wheel"


def build_encrypted(
    account: Account | None, cleanup: ExitStack, *, scale: int = SCALE
) -> Stage:
    """Start a server that speaks TLS, with pgbench's tables, as ``build`` does.

    Raises ChildFailed when there is none.
    """
    return build(account, cleanup, suits=has_tls, prepare=_encrypt, scale=scale)


def _encrypt(folder: Path, account: Account | None) -> dict[str, str]:
    """Write a key and a certificate; return the server's settings that name them."""
    certificate, key = folder / "tls.crt", folder / "tls.key"
    write_certificate(certificate, key)
    for path in (certificate, key):
        hand_over(path, account)
    return {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(key)}


def write_certificate(certificate: Path, key: Path) -> None:
    """Write a certificate that signs itself, and its key."""
    own = rsa.generate_private_key(65537, KEY_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .sign(own, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        own.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    # PostgreSQL takes no key that others may read.
    key.chmod(0o600)


def encrypted_loads(programs: Programs, amounts: Amounts) -> list[Load]:
    """Return the loads of these poolers."""

    def query(racer: Contender) -> float:
        return programs.pgbench(racer.port, "-S", "-t", str(amounts.queries))

    return [
        measured("tls", "query by TLS", query),
        measured(
            "tls-connect",
            f"{CONNECT} by TLS",
            connecting(programs, amounts.connections),
        ),
    ]


MEMORY_LOAD = Load(
    "tls-memory", MEMORY, (MEMORY,), lambda racer: {MEMORY: memory(racer)["memory"]}
)
