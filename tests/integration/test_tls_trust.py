"""Certificates that were good once: expired, revoked, of an authority not trusted now.

On both sides, and with RELOAD as the moment at which trust begins or ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from pgswitch.demo.postgres import PostgresServer
from pgswitch.demo.processes import Account, subdirectory
from tests.integration.running import PgSwitch, PgSwitchFactory
from tests.integration.tls import HOST, Certificates
from tests.tls_files import Authority
from tests.waiting import wait_until

EACH_TLS_INSTALLATION = True

Pair = tuple[Path, Path]
Show = Callable[[Pair], None]

VERIFYING = ("verify-ca", "verify-full")
EXPIRED = "certificate verify failed (certificate has expired)"
UNTRUSTED = "certificate verify failed ("
"""What follows tells how much of the chain the other end has sent."""
REVOKED = "certificate verify failed (certificate revoked)"


class Trust:
    """A file of authorities, which changes in the course of a test."""

    def __init__(self, directory: Path, certificates: Certificates) -> None:
        """Begin with the usual authority."""
        self.path = directory / "trusted.crt"
        self.certificates = certificates
        self.rely_on(certificates.root)

    def rely_on(self, *files: Path) -> None:
        """Put these in the file: authorities, revocation lists."""
        self.path.write_bytes(b"".join(file.read_bytes() for file in files))


@pytest.fixture
def folder(directory: Path, account: Account | None) -> Path:
    """Return a folder for the test's own authorities, which servers may read too."""
    return subdirectory(directory, "own", account)


@pytest.fixture
def trust(folder: Path, certificates: Certificates) -> Trust:
    """Return the authorities that pgswitch trusts."""
    return Trust(folder, certificates)


# Clients.


@pytest.fixture
def pooler(
    tls_pgswitch: PgSwitchFactory, certificates: Certificates, trust: Trust
) -> PgSwitch:
    """Return a pooler whose clients log in by their certificates."""
    entry = tls_pgswitch.usual_databases()["bench"]
    return tls_pgswitch(
        {"bench": f"{entry} user=scram password=scram-secret"},
        users={"certified": ""},
        auth_type="cert",
        **certificates.for_clients("verify-full", client_tls_ca_file=str(trust.path)),
    )


def connect(pooler: PgSwitch, trust: Trust, pair: Pair) -> psycopg.Connection:
    """Connect as the user of a certificate."""
    return psycopg.connect(
        host=HOST,
        hostaddr="127.0.0.1",
        port=pooler.port,
        user="certified",
        dbname="bench",
        sslmode="verify-full",
        sslrootcert=str(trust.certificates.root),
        sslcert=str(pair[0]),
        sslkey=str(pair[1]),
        gssencmode="disable",
        autocommit=True,
    )


def refusals(pooler: PgSwitch, why: str) -> int:
    """Return how many handshakes the log says to have failed so."""
    return pooler.log_text().count(f"closing because: TLS handshake failed: {why}")


def assert_works(pooler: PgSwitch, trust: Trust, pair: Pair) -> None:
    """Log in with a certificate, and ask something."""
    with connect(pooler, trust, pair) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def assert_refused(
    pooler: PgSwitch, trust: Trust, pair: Pair, *, told: str, logged: str
) -> None:
    """Try to log in with a certificate: client and log get the reason for refusal."""
    before = refusals(pooler, logged)
    with pytest.raises(psycopg.OperationalError, match=told):
        connect(pooler, trust, pair)
    wait_until(lambda: refusals(pooler, logged) == before + 1, "the refusal in the log")


def test_expired_client(pooler: PgSwitch, trust: Trust) -> None:
    """The client learns so; one with a good certificate notices nothing."""
    certificates = trust.certificates
    pair = certificates.authority.issue("gone-by", "certified", days=-1)
    with connect(pooler, trust, certificates.client) as other:
        assert_refused(pooler, trust, pair, told="certificate expired", logged=EXPIRED)
        assert other.execute("SELECT 1").fetchone() == (1,)
    assert_works(pooler, trust, certificates.client)


def test_replaced_authority_of_clients(
    pooler: PgSwitch, trust: Trust, folder: Path
) -> None:
    """RELOAD ends the trust in the old one and begins it in the new one.

    Who is logged in stays so.
    """
    old = trust.certificates.client
    successor = Authority(folder, "successor")
    new = successor.issue("renewed", "certified")
    with connect(pooler, trust, old) as before:
        assert_refused(pooler, trust, new, told="unknown ca", logged=UNTRUSTED)
        trust.rely_on(trust.certificates.root, successor.path)
        pooler.reload()
        assert_works(pooler, trust, old)
        assert_works(pooler, trust, new)
        trust.rely_on(successor.path)
        pooler.reload()
        assert_refused(pooler, trust, old, told="unknown ca", logged=UNTRUSTED)
        assert_works(pooler, trust, new)
        assert before.execute("SELECT 1").fetchone() == (1,)


def test_revoked_authority_of_clients(
    pooler: PgSwitch, trust: Trust, folder: Path
) -> None:
    """A revocation list revokes an intermediate authority: so is all it has signed."""
    root = Authority(folder, "above")
    between = root.authority("between")
    below = between.issue("below", "certified", chain=[between])
    beside = root.issue("beside", "certified")
    trust.rely_on(root.path)
    pooler.reload()
    with connect(pooler, trust, below) as before:
        lists = root.revoke("above", between.path), between.revoke("between")
        trust.rely_on(root.path, *lists)
        pooler.reload()
        assert_refused(pooler, trust, below, told="certificate revoked", logged=REVOKED)
        assert_works(pooler, trust, beside)
        assert before.execute("SELECT 1").fetchone() == (1,)


# Servers.


@pytest.fixture
def show(tls_postgres: PostgresServer, certificates: Certificates) -> Iterator[Show]:
    """Yield a function that has the server show another certificate from now on."""

    def change(pair: Pair) -> None:
        begun = "SELECT pg_conf_load_time()"
        certificates.owned(*pair)
        tls_postgres.configure(
            {"ssl_cert_file": str(pair[0]), "ssl_key_file": str(pair[1])}
        )
        before = tls_postgres.execute(begun)
        tls_postgres.reload()
        wait_until(lambda: tls_postgres.execute(begun) != before, "the reload")

    yield change
    change(certificates.server)


@pytest.fixture
def asking(
    tls_pgswitch: PgSwitchFactory, tls_postgres: PostgresServer, trust: Trust
) -> PgSwitch:
    """Return a pooler that looks at its server's certificate, but for one database."""
    entry = f"host={HOST} port={tls_postgres.port} dbname=bench server_tls_sslmode="
    return tls_pgswitch(
        {mode: f"{entry}{mode}" for mode in (*VERIFYING, "require")},
        client_login_timeout="1",
        query_wait_timeout="1",
        server_login_retry="0.1",
        server_tls_ca_file=str(trust.path),
    )


def works(pooler: PgSwitch, mode: str) -> bool:
    """Tell whether a new connection to the server can be had."""
    pooler.console(f'RECONNECT "{mode}"')
    try:
        return pooler.execute("SELECT 1", database=mode) == [(1,)]
    except psycopg.OperationalError:
        return False


def assert_out_of_reach(pooler: PgSwitch, mode: str, why: str) -> None:
    """Ask for a new connection: client and log get the reason why there is none."""
    text = f"TLS handshake failed: {why}"
    pooler.console(f'RECONNECT "{mode}"')
    with pytest.raises(psycopg.OperationalError) as refused:
        pooler.execute("SELECT 1", database=mode)
    assert text in str(refused.value)
    assert text in pooler.log_text()


def test_expired_server(
    asking: PgSwitch, certificates: Certificates, show: Show
) -> None:
    """A client or pool that verifies refuses it, until it is renewed."""
    show(certificates.authority.issue("server-gone-by", hosts=[HOST], days=-1))
    for mode in VERIFYING:
        assert_out_of_reach(asking, mode, EXPIRED)
    wait_until(lambda: works(asking, "require"), "who does not verify")
    show(certificates.server)
    for mode in VERIFYING:
        wait_until(partial(works, asking, mode), "a server")


def test_replaced_authority_of_servers(
    asking: PgSwitch, trust: Trust, show: Show, folder: Path
) -> None:
    """RELOAD ends the trust in the old one; connections that are there live on."""
    successor = Authority(folder, "successor")
    with asking.connect(database="verify-ca") as before, before.transaction():
        before.execute("SELECT 1")
        trust.rely_on(successor.path)
        asking.reload()
        assert_out_of_reach(asking, "verify-ca", UNTRUSTED)
        wait_until(lambda: works(asking, "require"), "who does not verify")
        assert before.execute("SELECT 1").fetchone() == (1,)
    show(successor.issue("server-renewed", hosts=[HOST]))
    wait_until(lambda: works(asking, "verify-ca"), "a server")


def test_revoked_server(
    asking: PgSwitch, trust: Trust, certificates: Certificates
) -> None:
    """A revocation list next to the authority counts from the next RELOAD on."""
    wait_until(lambda: works(asking, "verify-full"), "a server")
    lists = certificates.authority.revoke("no-server", certificates.server[0])
    trust.rely_on(certificates.root, lists)
    asking.reload()
    assert_out_of_reach(asking, "verify-full", REVOKED)
    trust.rely_on(certificates.root)
    asking.reload()
    wait_until(lambda: works(asking, "verify-full"), "a server")
