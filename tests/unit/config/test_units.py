"""Values: what each kind accepts, and how it is shown again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.config import units
from pgswitch.config.units import ValueType, WordList
from pgswitch.types import AuthType, PoolMode

ACCEPTED: list[tuple[ValueType, str, object, str]] = [
    (units.TEXT, "<empty>", "<empty>", "<empty>"),
    (units.TEXT, "", "", ""),
    (units.PATH, "/var/log/x", "/var/log/x", "/var/log/x"),
    (units.INTEGER, "0", 0, "0"),
    (units.INTEGER, "-1", -1, "-1"),
    (units.INTEGER, "+7", 7, "7"),
    (units.INTEGER, "0777", 511, "511"),
    (units.INTEGER, "-010", -8, "-8"),
    (units.INTEGER, "0x1F", 31, "31"),
    (units.INTEGER, "2147483647", 2147483647, "2147483647"),
    (units.UNSIGNED, "4294967295", 4294967295, "4294967295"),
    (units.PORT_OR_ZERO, "0", 0, "0"),
    (units.PORT_OR_ZERO, "65535", 65535, "65535"),
    (units.PORT, "010", 10, "10"),
    (units.SECONDS, "3600", 3600.0, "3600"),
    (units.SECONDS, "0.5", 0.5, "0.5"),
    (units.SECONDS, ".1", 0.1, "0.1"),
    (units.SECONDS, "5.", 5.0, "5"),
    (units.SECONDS, "1e6", 1e6, "1e+06"),
    (units.SWITCH, "false", False, "false"),
    (units.SWITCH, "0", False, "false"),
    (units.SWITCH, "No", False, "false"),
    (units.SWITCH, "TRUE", True, "true"),
    (units.SWITCH, "1", True, "true"),
    (units.NAMES, "a, b  c", ("a", "b", "c"), "a, b  c"),
    (units.NAMES, "", (), ""),
    (units.COMMA_LIST, "*", ("*",), "*"),
    (units.COMMA_LIST, "127.0.0.1 , ::1", ("127.0.0.1", "::1"), "127.0.0.1 , ::1"),
    (units.POOL_MODE, "Transaction", PoolMode.TRANSACTION, "transaction"),
    (units.AUTH_TYPE, "SCRAM-sha-256", AuthType.SCRAM_SHA_256, "scram-sha-256"),
    (units.AUTH_TYPE, "any", AuthType.ANY, "any"),
    (units.TLS_MODE, "Verify-Full", "verify-full", "verify-full"),
    (units.DH_PARAMS, "legacy", "legacy", "legacy"),
    (units.LOAD_BALANCE, "round-robin", "round-robin", "round-robin"),
    (units.TLS_PROTOCOL_LIST, "all:!tlsv1.0", ("all", "!tlsv1.0"), "all:!tlsv1.0"),
    (units.TLS_PROTOCOL_LIST, "TLSv1.2,TLSv1.3", ("TLSv1.2", "TLSv1.3"), ""),
    (units.FACILITY, "LOCAL7", "local7", "local7"),
    (units.FACILITY, "mail", "daemon", "daemon"),
    (units.COUNT, "0", 0, "0"),
    (units.POSITIVE_COUNT, "1", 1, "1"),
    (units.TIME, "0", 0.0, "0"),
    (units.POSITIVE_TIME, "0.5", 0.5, "0.5"),
    (units.DATABASE_NAME, "app", "app", "app"),
]

UNSET: list[tuple[ValueType, str]] = [
    (units.COUNT, "-1"),
    (units.POSITIVE_COUNT, "0"),
    (units.POSITIVE_COUNT, "-1"),
    (units.TIME, "-1"),
    (units.POSITIVE_TIME, "0"),
    (units.POSITIVE_TIME, "-1"),
]

REFUSED: list[tuple[ValueType, str]] = [
    (units.INTEGER, ""),
    (units.INTEGER, "yes"),
    (units.INTEGER, "1 ; x"),
    (units.INTEGER, "1_000"),
    (units.INTEGER, "08"),
    (units.INTEGER, "1.5"),
    (units.INTEGER, "2147483648"),
    (units.INTEGER, "\u0661"),
    (units.UNSIGNED, "-1"),
    (units.PORT_OR_ZERO, "65536"),
    (units.PORT, "0"),
    (units.PORT, "0x10"),
    (units.PORT, "5432x"),
    (units.SECONDS, ""),
    (units.SECONDS, "-1"),
    (units.SECONDS, "10s"),
    (units.SECONDS, "inf"),
    (units.SECONDS, "nan"),
    (units.SECONDS, "1e400"),
    (units.SWITCH, "maybe"),
    (units.SWITCH, ""),
    (units.POOL_MODE, "foo"),
    (units.POOL_MODE, "1"),
    (units.AUTH_TYPE, "password"),
    (units.TLS_MODE, "on"),
    (units.DH_PARAMS, "2048"),
    (units.LOAD_BALANCE, "random"),
    (units.TLS_PROTOCOL_LIST, "legacy"),
    (units.TLS_PROTOCOL_LIST, "sslv3"),
    (units.COUNT, "x"),
    (units.POSITIVE_COUNT, ""),
    (units.TIME, "1m"),
    (units.POSITIVE_TIME, "x"),
    (units.DATABASE_NAME, "pgbouncer"),
]


@pytest.mark.parametrize(("kind", "text", "value", "shown"), ACCEPTED)
def test_accepted(kind: ValueType, text: str, value: object, shown: str) -> None:
    """An accepted text has a value, of one type, and is shown as the console does."""
    got = kind.parse(text)
    assert got == value
    assert isinstance(got, type(value))
    assert kind.show(got) == (shown or text)


@pytest.mark.parametrize(("kind", "text"), UNSET)
def test_unset(kind: ValueType, text: str) -> None:
    """A number below what counts means that the entry does not set the key."""
    assert kind.parse(text) is None


@pytest.mark.parametrize(("kind", "text"), REFUSED)
def test_refused(kind: ValueType, text: str) -> None:
    """Any other text is a ValueError, and the kind says what it accepts."""
    with pytest.raises(ValueError):  # noqa: PT011  any reason will do
        kind.parse(text)
    assert kind.accepts


def test_path_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that begins with ~ is below the home directory."""
    monkeypatch.setenv("HOME", "/home/x")
    assert units.PATH.parse("~/rules.py") == "/home/x/rules.py"


def test_plain_tuple_shown() -> None:
    """A list that was never text is shown with commas."""
    assert units.NAMES.show(("a", "b")) == "a, b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ldapbindpasswd=secret ldapport=1", "ldapbindpasswd=*** ldapport=1"),
        ('ldapbindpasswd = "my ""secret" x=y', "ldapbindpasswd = *** x=y"),
        ('ldapbindpasswd="my secret', "ldapbindpasswd=***"),
        ("LdapBindPasswd=secret", "LdapBindPasswd=***"),
        ("ldapserver=a", "ldapserver=a"),
    ],
)
def test_the_password_of_a_directory_is_not_shown(text: str, shown: str) -> None:
    """Not even when the value is malformed."""
    assert units.LDAP_OPTIONS.show(text) == shown


def test_word_list_compares_by_words() -> None:
    """The way a list is written makes no difference to what it says."""
    assert WordList.split("a,b", ",") == WordList.split("a, b", ",")


@given(st.integers(-(2**31), 2**31 - 1))
def test_c_integer_notations(number: int) -> None:
    """Decimal, hexadecimal and octal notation of a number mean the same."""
    sign, digits = ("-" if number < 0 else ""), abs(number)
    for text in (f"{number}", f"{sign}0x{digits:x}", f"{sign}0{digits:o}"):
        assert units.c_integer(text) == number


@given(st.text())
def test_only_value_errors(text: str) -> None:
    """No text makes a kind fail in any other way."""
    for kind in vars(units).values():
        if isinstance(kind, ValueType):
            try:
                kind.parse(text)
            except ValueError:
                continue
