"""What a client's start-up packet says, and how its parameters follow it."""

from __future__ import annotations

import os
from collections.abc import Callable

import psycopg
import pytest

from pgswitch.demo.postgres import PostgresServer
from testkit.pgwire import startup
from tests.integration.running import PgSwitch, PgSwitchFactory, RawClient

ONE_INSTALLATION = True

FORM = (
    "unsupported options startup parameter: only '-c config=val' and"
    " '--config=val' are allowed"
)


def shown(client: psycopg.Connection, name: str) -> object:
    """Return the value of a setting on the server."""
    row = client.execute(f"SHOW {name}".encode()).fetchone()
    assert row is not None
    return row[0]


@pytest.fixture
def pooler(pgswitch: PgSwitchFactory) -> PgSwitch:
    """Return a pooler that asks for no passwords and ignores two parameters."""
    return pgswitch(
        auth_type="trust",
        pool_mode="transaction",
        ignore_startup_parameters="extra_float_digits, geqo",
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-c timezone=Asia/Tokyo", {"TimeZone": "Asia/Tokyo"}),
        ("-cTimeZone=Asia/Tokyo -c datestyle=German", {"DateStyle": "German, DMY"}),
        ("--timezone=Asia/Tokyo", {"TimeZone": "Asia/Tokyo"}),
        (r"-c application_name=a\ b\\c", {"application_name": "a b\\c"}),
        ("  -c  geqo=off   --IntervalStyle=iso_8601", {"IntervalStyle": "iso_8601"}),
    ],
)
def test_options(pooler: PgSwitch, options: str, expected: dict[str, str]) -> None:
    """Each form of setting a parameter; what is ignored does no harm."""
    with pooler.connect("trusted", options=options) as client:
        for name, value in expected.items():
            assert shown(client, name) == value
            # At the login clients get their own values.
            assert value.startswith(client.info.parameter_status(name) or "?")


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (("options", "-c foo=1"), "unsupported startup parameter in options: foo"),
        (("options", "--foo=1"), "unsupported startup parameter in options: foo"),
        (("options", "-B 5"), FORM),
        (("options", "timezone=UTC"), FORM),
        (("options", "-c"), FORM),
        (("search_path", "a"), "unsupported startup parameter: search_path"),
        (("GEQO", "off"), "unsupported startup parameter: GEQO"),
    ],
)
def test_refused(pooler: PgSwitch, parameters: tuple[str, ...], text: str) -> None:
    """With the reference's text, before anything else is asked."""
    with RawClient(pooler.port) as client:
        client.send(startup("user", "trusted", "database", "bench", *parameters))
        error = client.read_error()
        assert (error["S"], error["C"], error["M"]) == ("FATAL", "08P01", text)
        assert client.is_closed()


def test_ignored(pgswitch: PgSwitchFactory) -> None:
    """By name, and all of options if that is in the list; tracked ones are kept."""
    pooler = pgswitch(
        auth_type="trust", ignore_startup_parameters="options,extra_float_digits"
    )
    options = "-c foo=1 -c timezone=Asia/Tokyo"
    with RawClient(pooler.port) as client:
        client.send(
            startup(
                *("user", "trusted", "database", "bench", "options", options),
                *("extra_float_digits", "2"),
            )
        )
        client.read_until(b"Z")
    with pooler.connect("trusted", options=options) as driver:
        assert shown(driver, "TimeZone") == "Asia/Tokyo"
        assert shown(driver, "extra_float_digits") == "1"


def test_the_address_in_the_application_name(pgswitch: PgSwitchFactory) -> None:
    """application_name_add_host, for both kinds of sockets."""
    pooler = pgswitch(application_name_add_host=1, pool_mode="transaction")
    with pooler.connect(application_name="shop") as client:
        name = str(shown(client, "application_name"))
        assert name.startswith("shop - 127.0.0.1:")
        (seen,) = (
            row for row in pooler.console("SHOW CLIENTS") if row["database"] == "bench"
        )
        assert name == f"shop - 127.0.0.1:{seen['port']}"
        assert seen["application_name"] == name
    with psycopg.connect(
        host=str(pooler.directory),
        port=pooler.port,
        user="scram",
        password="scram-secret",
        dbname="bench",
        application_name="",
    ) as client:
        place = f"unix({os.getpid()}@{os.uname().nodename}):{pooler.port}"
        assert shown(client, "application_name") == f"app - {place}"
        rows = pooler.console("SHOW CLIENTS")
        (row,) = (row for row in rows if row["database"] == "bench")
        assert (row["addr"], row["port"]) == ("unix", pooler.port)


def test_one_query_for_all_differences(
    pgswitch: PgSwitchFactory, make_own_postgres: Callable[..., PostgresServer]
) -> None:
    """Only what differs is set, when clients take turns, however long it is."""
    server = make_own_postgres(log_statement="all")
    pooler = pgswitch(
        {"bench": f"host=127.0.0.1 port={server.port}"},
        pool_mode="transaction",
        default_pool_size=1,
        track_extra_parameters="IntervalStyle, search_path",
    )
    with (
        pooler.connect(application_name="one") as one,
        pooler.connect(application_name="it's two") as two,
        pooler.connect(application_name="x" * 124) as long,
    ):
        one.execute("SELECT 'first'")
        one.execute("SELECT 'second'")
        two.execute("SET IntervalStyle = 'iso_8601'")
        one.execute("SELECT 'third'")
        two.execute("SELECT 'fourth'")
        long.execute("SELECT 'fifth'")
    wanted = ("SET ", "SELECT '")
    statements = [
        line.partition("statement: ")[2]
        for line in server.log_text().splitlines()
        if "statement: " in line
    ]
    statements = [line for line in statements if line.startswith(wanted)]
    assert statements == [
        "SET application_name='one';",
        "SELECT 'first'",
        "SELECT 'second'",
        "SET application_name='it''s two';",
        "SET IntervalStyle = 'iso_8601'",
        "SET application_name='one';SET IntervalStyle='postgres';",
        "SELECT 'third'",
        "SET application_name='it''s two';SET IntervalStyle='iso_8601';",
        "SELECT 'fourth'",
        f"SET application_name='{'x' * 63}';SET IntervalStyle='postgres';",
        "SELECT 'fifth'",
    ]


def test_a_list_of_schemas(pgswitch: PgSwitchFactory) -> None:
    """search_path is a list of names; an empty one is one, too."""
    pooler = pgswitch(
        pool_mode="transaction",
        default_pool_size=1,
        track_extra_parameters="IntervalStyle, search_path",
    )
    with pooler.connect() as one, pooler.connect() as two:
        if one.info.server_version < 180000:
            pytest.skip("the server does not report search_path")
        one.execute("SET search_path = \"a b\", 'public'")
        two.execute("SET search_path = ''")
        for _ in range(2):
            assert shown(one, "search_path") == '"a b", public'
            assert shown(two, "search_path") == '""'
