"""The drivers that people use, in each pool mode, doing what people do with them."""

from __future__ import annotations

import asyncio

import asyncpg
import pg8000.dbapi
import psycopg
import psycopg2
import pytest
import sqlalchemy

from tests.integration.running import PASSWORDS, PgSwitch, PgSwitchFactory

MODES = ("session", "transaction")


@pytest.fixture(params=MODES)
def pooler(request: pytest.FixtureRequest, pgswitch: PgSwitchFactory) -> PgSwitch:
    """Return a pgswitch in one of the modes in which a client keeps its session."""
    return pgswitch(pool_mode=request.param, default_pool_size=3)


def test_psycopg3(pooler: PgSwitch) -> None:
    """Parameters, errors, transactions, automatic prepared statements."""
    with pooler.connect(autocommit=False) as connection:
        for number in range(12):
            row = connection.execute("SELECT %s::int", (number,)).fetchone()
            assert row == (number,)
        connection.commit()
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1/0")
        connection.rollback()
        assert connection.execute("SELECT 'still here'").fetchone() == ("still here",)


def test_psycopg3_pipeline(pooler: PgSwitch) -> None:
    """A pipeline of prepared and plain statements keeps the order of its answers."""
    with pooler.connect() as connection:
        with connection.pipeline():
            cursors = [
                connection.execute("SELECT %s::int", (n,), prepare=n % 2 == 0)
                for n in range(60)
            ]
        assert [cursor.fetchone() for cursor in cursors] == [(n,) for n in range(60)]


def test_psycopg3_pipeline_with_an_error(pooler: PgSwitch) -> None:
    """What follows an error up to the Sync is skipped; the connection goes on."""
    with pooler.connect() as connection:
        with pytest.raises(psycopg.errors.DivisionByZero), connection.pipeline():
            connection.execute("SELECT %s::int", (1,), prepare=True)
            connection.execute("SELECT 1/%s::int", (0,), prepare=True)
            connection.execute("SELECT %s::int + 1", (1,), prepare=True)
        for _ in range(3):
            row = connection.execute(
                "SELECT %s::int + 1", (1,), prepare=True
            ).fetchone()
            assert row == (2,)


def test_psycopg2(pooler: PgSwitch) -> None:
    """Simple queries of several statements, and a rollback."""
    connection = psycopg2.connect(pooler.dsn())
    cursor = connection.cursor()
    cursor.execute("SELECT 1; SELECT 2")
    assert cursor.fetchone() == (2,)
    connection.rollback()
    connection.close()


def test_asyncpg(pooler: PgSwitch) -> None:
    """Statement cache, cursors, transactions and errors."""

    async def scenario() -> None:
        connection = await asyncpg.connect(pooler.dsn())
        for number in range(150):
            text = f"SELECT {number} + $1::int"
            assert await connection.fetchval(text, 1) == number + 1
        async with connection.transaction():
            rows = [
                row[0]
                async for row in connection.cursor("SELECT generate_series(1, 200)")
            ]
        assert rows == list(range(1, 201))
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.fetch("SELECT 1/0")
        assert await connection.fetchval("SELECT 'fine'") == "fine"
        await connection.close()

    asyncio.run(scenario())


def test_pg8000(pooler: PgSwitch) -> None:
    """Unnamed statements of the extended protocol."""
    connection = pg8000.dbapi.connect(
        user="scram",
        password=PASSWORDS["scram"],
        host="127.0.0.1",
        port=pooler.port,
        database="bench",
    )
    cursor = connection.cursor()
    cursor.execute("SELECT %s::text", ("text",))
    assert list(cursor.fetchone()) == ["text"]
    connection.close()


def test_sqlalchemy(pooler: PgSwitch) -> None:
    """SQLAlchemy's connection pool on top of pgswitch."""
    url = pooler.dsn().replace("postgresql://", "postgresql+psycopg://")
    engine = sqlalchemy.create_engine(url)
    for _ in range(3):
        with engine.begin() as connection:
            assert connection.execute(sqlalchemy.text("SELECT 7")).scalar() == 7
    engine.dispose()


def test_copy_both_ways(pooler: PgSwitch) -> None:
    """Rows copied in come out again; a bad row is an error, not the end."""
    with pooler.connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS copied (a int, b text)")
        connection.execute("TRUNCATE copied")
        with connection.cursor() as cursor:
            with cursor.copy("COPY copied FROM STDIN") as copy:
                for number in range(20_000):
                    copy.write_row((number, "x" * 20))
            with cursor.copy("COPY copied TO STDOUT") as copy:
                assert sum(1 for _row in copy.rows()) == 20_000
            with (
                pytest.raises(psycopg.errors.BadCopyFileFormat),
                cursor.copy("COPY copied FROM STDIN") as copy,
            ):
                copy.write("not a row\tof this\ttable\n" * 50_000)
        row = connection.execute("SELECT count(*) FROM copied").fetchone()
        assert row == (20_000,)


def test_a_copy_given_up_by_the_client(pooler: PgSwitch) -> None:
    """CopyFail rolls back, and the server serves the next statement."""
    with pooler.connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS given_up (a int)")
        with (
            pytest.raises(ZeroDivisionError),
            connection.cursor().copy("COPY given_up FROM STDIN") as copy,
        ):
            copy.write("1\n")
            raise ZeroDivisionError
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_notices(pooler: PgSwitch) -> None:
    """A notice arrives with its statement."""
    with pooler.connect() as connection:
        heard: list[str | None] = []
        connection.add_notice_handler(
            lambda notice: heard.append(notice.message_primary)
        )
        connection.execute("DO $$ BEGIN RAISE NOTICE 'hear me'; END $$")
        assert heard == ["hear me"]


def test_notifications_in_session_mode(pgswitch: PgSwitchFactory) -> None:
    """LISTEN works where the session is the client's own."""
    pooler = pgswitch(pool_mode="session")
    with pooler.connect() as listener, pooler.connect() as speaker:
        listener.execute("LISTEN ear")
        speaker.execute("NOTIFY ear, 'word'")
        heard = next(listener.notifies(timeout=5, stop_after=1))
        assert heard.payload == "word"
