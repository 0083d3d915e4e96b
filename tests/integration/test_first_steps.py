"""The first things that a newcomer tries: log in, ask, look, reload, stop."""

from __future__ import annotations

import signal

import psycopg
import pytest

from tests.integration.running import DATABASES, USERS, PgSwitchFactory


@pytest.mark.parametrize("auth_type", ["scram-sha-256", "md5", "plain", "trust"])
def test_each_user_reaches_the_server(
    pgswitch: PgSwitchFactory, auth_type: str
) -> None:
    """Whatever we ask of clients and the server asks of us, logins work."""
    pooler = pgswitch(auth_type=auth_type)
    pairs = [(user.name, database) for user in USERS for database in DATABASES]
    statement = "SELECT current_user, current_database()"
    rows = [pooler.execute(statement, user=u, database=d)[0] for u, d in pairs]
    assert rows == pairs


@pytest.mark.parametrize("auth_type", ["scram-sha-256", "md5", "plain"])
def test_a_wrong_password_is_refused(pgswitch: PgSwitchFactory, auth_type: str) -> None:
    """The refusal is the pooler's own and names the user as PgBouncer does."""
    pooler = pgswitch(auth_type=auth_type)
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        pooler.connect(password="wrong")


@pytest.mark.parametrize("database", ["pgbouncer", "pgswitch"])
def test_the_console_answers_under_both_names(
    pgswitch: PgSwitchFactory, database: str
) -> None:
    """The console lists the databases of the configuration."""
    listed = pgswitch().console("SHOW DATABASES", database)
    assert set(DATABASES) < {row["name"] for row in listed}


def test_a_reload_brings_a_new_database(pgswitch: PgSwitchFactory) -> None:
    """An entry added to the file can be used after SIGHUP, and no client notices."""
    pooler = pgswitch()
    with pooler.connect() as earlier:
        bench = pgswitch.usual_databases()["bench"]
        pooler.configure(
            {**pgswitch.usual_databases(), "added": f"{bench} dbname=bench"}
        )
        pooler.reload()
        assert pooler.execute("SELECT 1", database="added") == [(1,)]
        assert earlier.execute("SELECT 2").fetchone() == (2,)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_signals_end_it_with_0(
    pgswitch: PgSwitchFactory, number: signal.Signals
) -> None:
    """Each of the three ends an idle pooler, without a second signal."""
    pooler = pgswitch()
    pooler.execute("SELECT 1")
    pooler.send(number)
    assert pooler.child.wait(10) == 0


def test_it_starts_again_on_the_same_port(pgswitch: PgSwitchFactory) -> None:
    """After a stop the port and the unix socket are free."""
    pooler = pgswitch()
    pooler.stop()
    pooler.start()
    assert pooler.execute("SELECT 1") == [(1,)]
