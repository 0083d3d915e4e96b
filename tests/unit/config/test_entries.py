"""Entries of the four sections, one by one."""

from __future__ import annotations

import pytest

from pgswitch.config.entries import (
    InvalidValue,
    read_database,
    read_peer,
    read_setting,
    read_user,
)
from pgswitch.config.load import FilePosition
from pgswitch.config.model import DatabaseSpec, PeerSpec, UserSpec
from pgswitch.types import PoolMode

DATABASES: list[tuple[str, str, DatabaseSpec]] = [
    ("a", "", DatabaseSpec(name="a", dbname="a")),
    ("a", "dbname=b port=6000", DatabaseSpec(name="a", dbname="b", port=6000)),
    ("*", "", DatabaseSpec(name="*")),
    ("*", "dbname=b", DatabaseSpec(name="*", dbname="b")),
    (
        "a",
        "host=h user=u password='it''s' pool_size=0 min_pool_size=1 reserve_pool=2",
        DatabaseSpec(
            name="a",
            dbname="a",
            host="h",
            user="u",
            password="it's",
            pool_size=0,
            min_pool_size=1,
            reserve_pool_size=2,
        ),
    ),
    (
        "a",
        (
            "pool_mode=Statement load_balance_hosts=disable query_wait_timeout=0"
            " max_db_connections=3 max_db_client_connections=4 server_lifetime=5.5"
        ),
        DatabaseSpec(
            name="a",
            dbname="a",
            pool_mode=PoolMode.STATEMENT,
            load_balance_hosts="disable",
            query_wait_timeout=0.0,
            max_db_connections=3,
            max_db_client_connections=4,
            server_lifetime=5.5,
        ),
    ),
    (
        "a",
        (
            "pool_size=-1 min_pool_size=-1 reserve_pool_size=-1 query_wait_timeout=-1"
            " max_db_connections=0 max_db_client_connections=-1 server_lifetime=0"
        ),
        DatabaseSpec(name="a", dbname="a"),
    ),
    (
        "a",
        (
            "client_encoding=UTF8 datestyle=ISO timezone=UTC application_name='x y'"
            " connect_query='set x to \\'y\\'' auth_user=au auth_query='q $1'"
            " auth_dbname=ad"
        ),
        DatabaseSpec(
            name="a",
            dbname="a",
            client_encoding="UTF8",
            datestyle="ISO",
            timezone="UTC",
            application_name="x y",
            connect_query="set x to 'y'",
            auth_user="au",
            auth_query="q $1",
            auth_dbname="ad",
        ),
    ),
    (
        "a",
        (
            "topology_query='select 1' user=u routing_rules_py_module_file=/r.py"
            " rewrite_query_py_module_file=/w.py"
        ),
        DatabaseSpec(
            name="a",
            dbname="a",
            topology_query="select 1",
            user="u",
            routing_rules_py_module_file="/r.py",
            rewrite_query_py_module_file="/w.py",
        ),
    ),
    (
        # As pgbouncer-fast-switchover's documentation writes it.
        "postgres",
        (
            "host=writer.cluster-x.us-west-2.rds.amazonaws.com port=5432 user=master"
            " password=notaverysecurepassword dbname=postgres"
            " topology_query='select endpoint from"
            r" rds_tools.show_topology(\'pgbouncer\')'"
            " recovery_query='select pg_is_in_recovery()'"
        ),
        DatabaseSpec(
            name="postgres",
            host="writer.cluster-x.us-west-2.rds.amazonaws.com",
            port=5432,
            user="master",
            password="notaverysecurepassword",
            dbname="postgres",
            topology_query="select endpoint from rds_tools.show_topology('pgbouncer')",
            recovery_query="select pg_is_in_recovery()",
        ),
    ),
    ("é" * 31 + "x", "dbname=b", DatabaseSpec(name="é" * 31 + "x", dbname="b")),
]

USERS: list[tuple[str, UserSpec]] = [
    ("", UserSpec(name="u")),
    (
        (
            "pool_mode=session pool_size=0 reserve_pool_size=2 max_user_connections=3"
            " max_user_client_connections=4 query_timeout=5 idle_transaction_timeout=6"
            " transaction_timeout=7 client_idle_timeout=.8 query_wait_timeout=0"
        ),
        UserSpec(
            name="u",
            pool_mode=PoolMode.SESSION,
            pool_size=0,
            reserve_pool_size=2,
            max_user_connections=3,
            max_user_client_connections=4,
            query_timeout=5.0,
            idle_transaction_timeout=6.0,
            transaction_timeout=7.0,
            client_idle_timeout=0.8,
            query_wait_timeout=0.0,
        ),
    ),
    (
        (
            "pool_size=-1 max_user_connections=0 max_user_client_connections=-1"
            " query_timeout=0 idle_transaction_timeout=-1 query_wait_timeout=-1"
        ),
        UserSpec(name="u"),
    ),
]

REFUSED_DATABASES: list[tuple[str, str, str]] = [
    ("pgbouncer", "", 'database name "pgbouncer" is reserved'),
    ("pgswitch", "", 'database name "pgswitch" is reserved'),
    ("x" * 64, "", f'invalid database name "{"x" * 64}"'),
    ("a", "host", "syntax error in connection string of database a at its end"),
    ("a", "hots=1", "unrecognized connection parameter: hots of database a"),
    ("a", "port=0", "invalid port: 0 of database a"),
    ("a", "port=x", "invalid port: x of database a"),
    ("a", "pool_mode=x", "invalid pool mode: x of database a"),
    ("a", "load_balance_hosts=x", "invalid load_balance_hosts: x of database a"),
    ("a", "pool_size=x", 'invalid value "x" for parameter pool_size of database a'),
    (
        "a",
        "reserve_pool=x",
        'invalid value "x" for parameter reserve_pool of database a',
    ),
    (
        "a",
        "auth_dbname=pgbouncer",
        'cannot use the reserved "pgbouncer" database as an auth_dbname of database a',
    ),
]

REFUSED_PEERS: list[tuple[str, str, str]] = [
    (
        *(number, "host=x"),
        "ids of peers must be a number larger than 0 and at most 65536",
    )
    for number in ("0", "-1", "65536", "x")
] + [
    ("1", "", "host was not provided for peer 1"),
    ("1", "host=a user=b", "unrecognized connection parameter: user of peer 1"),
    ("1", "host=a port=b", "invalid port: b of peer 1"),
]


@pytest.mark.parametrize(("name", "text", "spec"), DATABASES)
def test_databases(name: str, text: str, spec: DatabaseSpec) -> None:
    """Every key of an entry is read with its type; "not set" numbers are None."""
    assert read_database(name, text) == spec


@pytest.mark.parametrize(("text", "spec"), USERS)
def test_users(text: str, spec: UserSpec) -> None:
    """A user's keys are read likewise."""
    assert read_user("u", text) == spec


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("host=h", PeerSpec(peer_id=7, host="h")),
        (
            "host=/tmp port=1 pool_size=3",
            PeerSpec(peer_id=7, host="/tmp", port=1, pool_size=3),
        ),
    ],
)
def test_peers(text: str, spec: PeerSpec) -> None:
    """A peer has a number and a host, and its port is the pooler's own by default."""
    assert read_peer("7", text) == spec


@pytest.mark.parametrize(("name", "text", "problem"), REFUSED_DATABASES)
def test_refused_databases(name: str, text: str, problem: str) -> None:
    """A refused database has the text that operators know, and the entry's name."""
    with pytest.raises(InvalidValue) as caught:
        read_database(name, text)
    assert caught.value.text == problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a='", "syntax error in user settings of user u at character 3"),
        ("password=x", "unrecognized user parameter: password of user u"),
        ("pool_mode=x", "invalid pool mode: x of user u"),
    ],
)
def test_refused_users(text: str, problem: str) -> None:
    """A refused user likewise."""
    with pytest.raises(InvalidValue) as caught:
        read_user("u", text)
    assert caught.value.text == problem


@pytest.mark.parametrize(("name", "text", "problem"), REFUSED_PEERS)
def test_refused_peers(name: str, text: str, problem: str) -> None:
    """A refused peer likewise."""
    with pytest.raises(InvalidValue) as caught:
        read_peer(name, text)
    assert caught.value.text == problem


@pytest.mark.parametrize(
    ("key", "text", "name", "value"),
    [
        ("listen_port", "0x10", "listen_port", 16),
        ("service_name", "x", "job_name", "x"),
        ("topology_monitoring_interval", "60", "topology_refresh", 60.0),
        ("server_check_query", "", "server_check_query", ""),
    ],
)
def test_settings(key: str, text: str, name: str, value: object) -> None:
    """A setting is read under its present name."""
    assert read_setting("pgbouncer", key, text) == (name, value)


@pytest.mark.parametrize(
    ("key", "text", "line"),
    [
        (
            "log_stats",
            "yes",
            (
                'invalid value "yes" for parameter log_stats in configuration'
                " (a.ini:3); accepted: a whole number"
            ),
        ),
        (
            "pool_mode",
            "x",
            (
                'invalid value "x" for parameter pool_mode in configuration (a.ini:3);'
                " accepted: one of session, transaction, statement"
            ),
        ),
        (
            "query_timout",
            "1",
            (
                "unknown parameter: pgbouncer/query_timout in configuration"
                " (a.ini:3);"
                " accepted: query_timeout, query_wait_timeout,"
                " tcp_user_timeout"
            ),
        ),
        (
            "zzzzzz",
            "1",
            "unknown parameter: pgbouncer/zzzzzz in configuration (a.ini:3)",
        ),
    ],
)
def test_refused_settings(key: str, text: str, line: str) -> None:
    """The log line has name, value, place, and what would be accepted."""
    with pytest.raises(InvalidValue) as caught:
        read_setting("pgbouncer", key, text)
    assert caught.value.line(FilePosition("a.ini", 3)) == line


def test_no_password_in_problems() -> None:
    """No problem of a connection string shows the password in it."""
    for text in ("password=hush port=x", "password='hush", "password=hush hots=1"):
        with pytest.raises(InvalidValue) as caught:
            read_database("a", text)
        assert "hush" not in caught.value.line()
