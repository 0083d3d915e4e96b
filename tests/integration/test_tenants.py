"""Tenants that share one server: each has its own parameters there.

All of them under transaction pooling with one server, so that each query comes after
one of another tenant.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from pgswitch.demo.postgres import PostgresServer
from testkit.pgwire import PROTOCOL_3_0, error_fields, packet, row_values
from tests.integration.running import PgSwitch, PgSwitchFactory, RawClient

LONG = ", ".join(f"schema_{number:03}" for number in range(30))
"""A list of schemas of 358 bytes."""

PATHS = (
    "one",
    "two",
    '"One"',
    "",
    '""',
    f"{LONG}, one",
    f"{LONG}, two",
    f'"{LONG}", one',
    '$user, "a ""b\\", two',
    "order, one",
    "it's, two",
    "sché, one",
)


class Tenant:
    """A client that sends raw bytes, and keeps the parameters of its login."""

    def __init__(self, pooler: PgSwitch, *pairs: bytes) -> None:
        """Log in with these names and values."""
        self.client = RawClient(pooler.port)
        user = (b"user", b"trusted", b"database", b"bench")
        text = b"".join(one + b"\0" for one in (*user, *pairs))
        self.client.send(packet(PROTOCOL_3_0, text + b"\0"))
        self.told: dict[str, bytes] = {}
        self._read()

    def _read(self) -> list[str | None]:
        """Return the first column of all rows; an ErrorResponse raises its text."""
        values: list[str | None] = []
        while True:
            kind, body = self.client.read_message()
            if kind == b"S":
                name, value, _ = body.split(b"\0")
                self.told[name.decode()] = value
            elif kind == b"E":
                raise AssertionError(error_fields(body)["M"])
            elif kind == b"D":
                values += row_values(body)
            elif kind == b"Z":
                return values

    def ask(self, text: str) -> str | None:
        """Return the last value that a query gives."""
        self.client.send(
            b"Q" + (len(text.encode()) + 5).to_bytes(4, "big") + text.encode() + b"\0"
        )
        return [None, *self._read()][-1]


@pytest.fixture
def tenants() -> Iterator[ExitStack]:
    """Yield what closes the tenants' connections."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def pooler(pgswitch: PgSwitchFactory) -> PgSwitch:
    """Return a pooler of one server that keeps schemas apart."""
    return pgswitch(
        auth_type="trust",
        pool_mode="transaction",
        default_pool_size=1,
        track_extra_parameters="IntervalStyle, search_path",
    )


@pytest.fixture
def schemas(postgres: PostgresServer) -> Iterator[None]:
    """Make a table ``whose`` in three schemas that tells which it is."""
    for name in ("one", "two", '"One"'):
        postgres.execute(f"CREATE SCHEMA {name}", database="bench")
        postgres.execute(f"GRANT USAGE ON SCHEMA {name} TO PUBLIC", database="bench")
        text = name.strip('"')
        made = f"CREATE VIEW {name}.whose AS SELECT '{text}'::text AS name"
        postgres.execute(made, database="bench")
        postgres.execute(f"GRANT SELECT ON {name}.whose TO PUBLIC", database="bench")
    yield
    for name in ("one", "two", '"One"'):
        postgres.execute(f"DROP SCHEMA {name} CASCADE", database="bench")


def escaped(value: str) -> str:
    """Return a value as a word of ``options``."""
    return "".join(f"\\{one}" if one in "\\ " else one for one in value)


@pytest.mark.parametrize("way", ["parameter", "options", "mixed"])
@pytest.mark.usefixtures("schemas")
def test_search_path_from_the_start(
    pooler: PgSwitch, tenants: ExitStack, way: str
) -> None:
    """Each sees its own; a client without one sees the server's."""
    all_of_them: list[tuple[Tenant, str]] = []
    for number, path in enumerate(PATHS):
        by_options = way == "options" or (way == "mixed" and number % 2)
        if by_options:
            tenant = Tenant(
                pooler, b"options", f"-c search_path={escaped(path)}".encode()
            )
        else:
            tenant = Tenant(pooler, b"search_path", path.encode())
        tenants.enter_context(tenant.client)
        all_of_them.append((tenant, path))
        if "search_path" in tenant.told:
            assert tenant.told["search_path"] == path.encode()
    none = Tenant(pooler)
    tenants.enter_context(none.client)
    all_of_them.append((none, '"$user", public'))
    for _ in range(3):
        for tenant, path in all_of_them:
            assert tenant.ask("SHOW search_path") == path
            schema = path.rpartition(", ")[2].strip('"')
            if schema in ("one", "two", "One"):
                assert tenant.ask("SELECT name FROM whose") == schema
        all_of_them.reverse()


@pytest.mark.usefixtures("schemas")
def test_search_path_by_set(pooler: PgSwitch, tenants: ExitStack) -> None:
    """Where a server reports it, what a client sets is its own from then on."""
    all_of_them: list[tuple[Tenant, str]] = []
    for path in PATHS:
        tenant = Tenant(pooler)
        tenants.enter_context(tenant.client)
        if "search_path" not in tenant.told:
            pytest.skip("the server does not report search_path")
        doubled = path.replace("'", "''")
        tenant.ask(f"SELECT set_config('search_path', '{doubled}', false)")
        all_of_them.append((tenant, path))
    for _ in range(3):
        for tenant, path in all_of_them:
            assert tenant.ask("SHOW search_path") == path
            schema = path.rpartition(", ")[2].strip('"')
            if schema in ("one", "two", "One"):
                assert tenant.ask("SELECT name FROM whose") == schema


def test_search_path_by_the_word_set(pooler: PgSwitch, tenants: ExitStack) -> None:
    """The same by SET, an empty one too."""
    all_of_them = []
    for given, shown in (("''", '""'), ('"Foo", b', '"Foo", b'), ("foo, b", "foo, b")):
        tenant = Tenant(pooler)
        tenants.enter_context(tenant.client)
        if "search_path" not in tenant.told:
            pytest.skip("the server does not report search_path")
        tenant.ask(f"SET search_path = {given}")
        all_of_them.append((tenant, shown))
    for _ in range(3):
        for tenant, shown in all_of_them:
            assert tenant.ask("SHOW search_path") == shown


def test_a_search_path_that_is_none(
    pooler: PgSwitch, tenants: ExitStack, postgres: PostgresServer
) -> None:
    """The server's own words, to that client alone; SQL in it does nothing."""
    good = Tenant(pooler, b"search_path", b"public")
    tenants.enter_context(good.client)
    process = good.ask("SELECT pg_backend_pid()")
    for path in (b"a b", b'bad, "list', b"public; CREATE TABLE public.evil (a int)"):
        bad = Tenant(pooler, b"search_path", path)
        tenants.enter_context(bad.client)
        with pytest.raises(AssertionError, match="invalid server parameter"):
            bad.ask("SELECT 1")
        assert bad.client.is_closed()
        assert good.ask("SELECT pg_backend_pid()") == process
    evil = postgres.execute("SELECT to_regclass('public.evil')", database="bench")
    assert evil == [(None,)]


NAMES = (
    *(b"", b"x" * 200, b"y" * 62 + "é".encode(), b"caf\xc3\xa9", b"\xff\xfe", b"App"),
    *(b"app", b"it's \\ \" $1", b"a\tb", b"z" * 62 + b"\xff\xff", "é".encode() * 40),
)


def test_application_names(
    pooler: PgSwitch, tenants: ExitStack, postgres: PostgresServer
) -> None:
    """Each client receives, and each query has, the name as a server would adapt it."""
    all_of_them = []
    for name in NAMES:
        tenant = Tenant(pooler, b"application_name", name)
        tenants.enter_context(tenant.client)
        expected = name_at_the_server(postgres, name)
        assert tenant.told["application_name"].decode() == expected
        all_of_them.append((tenant, expected))
    process = all_of_them[0][0].ask("SELECT pg_backend_pid()")
    for _ in range(3):
        for tenant, expected in all_of_them:
            assert tenant.ask("SHOW application_name") == expected
            active = "SELECT application_name FROM pg_stat_activity"
            mine = f"{active} WHERE pid = pg_backend_pid()"
            assert tenant.ask(mine) == expected
    assert tenant.ask("SELECT pg_backend_pid()") == process
    assert pooler.console("SHOW CLIENTS")


def name_at_the_server(postgres: PostgresServer, name: bytes) -> str:
    """Return what a server reports that is given a name at a login.

    It keeps a name of escapes longer than it would take it by SET; the statistics show
    no more of it.
    """
    with RawClient(postgres.port) as client:
        user = (b"user", b"trusted", b"database", b"bench", b"application_name", name)
        text = b"".join(one + b"\0" for one in user)
        client.send(packet(PROTOCOL_3_0, text + b"\0"))
        for kind, body in client.read_until(b"Z"):
            if kind == b"S" and body.startswith(b"application_name\0"):
                return body.split(b"\0")[1].decode()[:63]
    raise AssertionError


SPELLINGS = (
    *(("client_encoding", one) for one in ("utf8", "UTF-8", "unicode", "iso-8859-1")),
    *(("client_encoding", one) for one in ("latin1", "Windows-1252", "euc_jp", "win")),
    *(("client_encoding", f"iso-8859-{part}") for part in (2, 5, 9, 10, 13, 15, 16)),
    *(("client_encoding", one) for one in ("sjis", "shift_jis", "gbk", "big5", "koi8")),
    *(("client_encoding", one) for one in ("tcvn", "windows-949", "abc", "alt", "uhc")),
    *(("DateStyle", one) for one in ("ISO", "german", "dmy", "SQL", "", "default")),
    *(("DateStyle", one) for one in ("iso, mdy", "postgresql", "german,mdy", "euro")),
    *(("DateStyle", one) for one in ("german, default", '"iso"', "noneuro, SQL")),
    ("TimeZone", "Europe/Oslo"),
)


def test_spellings(
    pooler: PgSwitch, tenants: ExitStack, postgres: PostgresServer
) -> None:
    """A client receives what a server would report at its login."""
    # An earlier client leaves other values.
    other = Tenant(pooler, b"DateStyle", b"SQL, DMY", b"client_encoding", b"LATIN2")
    tenants.enter_context(other.client)
    for name, value in SPELLINGS:
        other.ask("SELECT 1")
        options = f"-c {name}={escaped(value)}"
        with psycopg.connect(
            host="127.0.0.1",
            port=postgres.port,
            user="trusted",
            dbname="bench",
            options=options,
        ) as direct:
            expected = direct.info.parameter_status(name)
        assert expected is not None
        tenant = Tenant(pooler, name.encode(), value.encode())
        with tenant.client:
            assert tenant.told[name] == expected.encode(), (name, value)
            assert tenant.ask(f"SHOW {name}") == expected, (name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TimeZone", "Nowhere/None"),
        ("client_encoding", "xx"),
        ("client_encoding", ""),
        ("DateStyle", "xx"),
        ("DateStyle", "iso, sql"),
        ("standard_conforming_strings", "perhaps"),
    ],
)
def test_what_a_server_refuses(
    pooler: PgSwitch, tenants: ExitStack, name: str, value: str
) -> None:
    """The client gets the error with its first query; no server is lost by it."""
    good = Tenant(pooler)
    tenants.enter_context(good.client)
    process = good.ask("SELECT pg_backend_pid()")
    bad = Tenant(pooler, name.encode(), value.encode())
    tenants.enter_context(bad.client)
    with pytest.raises(AssertionError, match="invalid server parameter"):
        bad.ask("SELECT 1")
    assert good.ask("SELECT pg_backend_pid()") == process


def test_schemas_in_other_encodings(
    pooler: PgSwitch, tenants: ExitStack, postgres: PostgresServer
) -> None:
    """The bytes of a value are in its client's encoding; another's do not matter."""
    clients = []
    for encoding, codec, name in (
        (b"UTF8", "utf-8", "sché"),
        (b"LATIN1", "latin-1", "sché"),
        (b"LATIN1", "latin-1", "schÃ©"),
        (b"SJIS", "cp932", "ソ'能"),
        (b"UTF8", "utf-8", "ソ'能"),
    ):
        tenant = Tenant(
            pooler,
            *(b"client_encoding", encoding),
            *(b"search_path", f'"{name}"'.encode(codec)),
        )
        tenants.enter_context(tenant.client)
        clients.append((tenant, f'"{name}"'.encode().hex()))
    shown = "SELECT encode(current_setting('search_path')::bytea, 'hex')"
    for _ in range(2):
        for tenant, expected in clients:
            assert tenant.ask(shown) == expected
        clients.reverse()
    # Those whose encoding needs no module of Python's, which this user may not read.
    clients = [one for one in clients if one[0].told["client_encoding"] != b"SJIS"]
    for tenant, _expected in clients:
        tenant.ask("SET client_encoding = 'UTF8'")
    for tenant, expected in clients:
        assert tenant.ask(shown) == expected
