"""Logins over TLS: certificates that name their user, proofs bound to certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgswitch.demo.postgres import PostgresServer
from pgswitch.demo.processes import Account, hand_over
from tests.integration.running import PgSwitch, PgSwitchFactory
from tests.integration.tls import HOST, Certificates

CERT_FAILED = "certificate authentication failed"
MAP = r"m /^certi(.*)$ \1"


def connect(
    pooler: PgSwitch, certificates: Certificates, user: str = "scram", **options: str
) -> psycopg.Connection:
    """Connect over TLS; the server's certificate is verified."""
    given: dict[str, Any] = {
        "host": HOST,
        "hostaddr": "127.0.0.1",
        "port": str(pooler.port),
        "user": user,
        "dbname": "bench",
        "sslmode": "verify-full",
        "sslrootcert": str(certificates.root),
        "gssencmode": "disable",
    }
    return psycopg.connect(**(given | options), autocommit=True)


def shown(pair: tuple[Path, Path]) -> dict[str, str]:
    """Return the options with which libpq shows a certificate."""
    return {"sslcert": str(pair[0]), "sslkey": str(pair[1])}


@pytest.mark.parametrize("binding", ["require", "prefer", "disable"])
def test_channel_binding(
    tls_pgswitch: PgSwitchFactory, certificates: Certificates, binding: str
) -> None:
    """Offered to every client over TLS, asked of none."""
    pooler = tls_pgswitch(**certificates.for_clients())
    options = {"password": "scram-secret", "channel_binding": binding}
    with connect(pooler, certificates, **options) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("scram",)
    with pytest.raises(psycopg.OperationalError, match="SASL authentication failed"):
        connect(pooler, certificates, **options | {"password": "wrong"})


def test_both_sides_bound(
    tls_pgswitch: PgSwitchFactory,
    tls_postgres: PostgresServer,
    certificates: Certificates,
) -> None:
    """Each to its own certificate; the client's proof opens the server all the same."""
    [(secret,)] = tls_postgres.execute(
        "SELECT rolpassword FROM pg_authid WHERE rolname = 'scram'"
    )
    pooler = tls_pgswitch(
        {"bench": f"host={HOST} port={tls_postgres.port}"},
        users={"scram": secret},
        server_tls_sslmode="require",
        verbose=3,
        **certificates.for_clients(),
    )
    with connect(
        pooler, certificates, password="scram-secret", channel_binding="require"
    ) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    sent = [line for line in pooler.log_text().splitlines() if "SCRAM-SHA-256" in line]
    assert any("S-0x" in line and '"SCRAM-SHA-256-PLUS"' in line for line in sent)
    assert secret not in pooler.log_text()


@pytest.mark.parametrize(
    ("rule", "ident", "user", "fault"),
    [
        ("", "", "certified", ""),
        ("", "", "scram", CERT_FAILED),
        ("hostssl all all all cert", "", "certified", ""),
        ("hostssl all all all cert", "", "scram", CERT_FAILED),
        ("hostssl all all all cert map=m", MAP, "fied", ""),
        (
            "hostssl all all all cert map=m",
            MAP,
            "certified",
            CERT_FAILED,
        ),
    ],
    ids=["own", "other", "rule", "rule, other", "map", "map, other"],
)
def test_certificates_name_users(  # noqa: PLR0917 - fixtures
    tls_pgswitch: PgSwitchFactory,
    certificates: Certificates,
    directory: Path,
    account: Account | None,
    rule: str,
    ident: str,
    user: str,
    fault: str,
) -> None:
    """By auth_type cert, or by a line of the HBA file with or without a map."""
    settings: dict[str, Any] = {"auth_type": "cert"}
    if rule:
        for name, text in (("hba", rule), ("ident", ident)):
            (directory / name).write_text(text)
            hand_over(directory / name, account)
        settings = {
            "auth_type": "hba",
            "auth_hba_file": str(directory / "hba"),
            "auth_ident_file": str(directory / "ident"),
        }
    entry = tls_pgswitch.usual_databases()["bench"]
    pooler = tls_pgswitch(
        {"bench": f"{entry} user=scram password=scram-secret"},
        users={"certified": "", "fied": ""},
        **settings,
        **certificates.for_clients(
            "verify-full", client_tls_ca_file=str(certificates.root)
        ),
    )
    certificate = shown(certificates.client)
    if fault:
        with pytest.raises(psycopg.OperationalError, match=fault):
            connect(pooler, certificates, user, **certificate)
        return
    with connect(pooler, certificates, user, **certificate) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_cert_needs_verified_clients(tls_pgswitch: PgSwitchFactory) -> None:
    """Start-up ends with what is missing."""
    pooler = tls_pgswitch(start=False, auth_type="cert")
    with pytest.raises(Exception, match="auth_type=cert requires client_tls"):
        pooler.start()
