"""No password is shown, however it is written."""

from __future__ import annotations

import pytest

from pgswitch.wire.trace import masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ALTER ROLE u PASSWORD 'hush'", "ALTER ROLE u PASSWORD ***"),
        (
            "create user u with encrypted password 'hush' LOGIN",
            "create user u with encrypted password *** LOGIN",
        ),
        (
            "CREATE ROLE u PASSWORD 'hu''hush' VALID UNTIL 'x'",
            "CREATE ROLE u PASSWORD *** VALID UNTIL 'x'",
        ),
        (r"ALTER USER u PASSWORD E'a\'hush' LOGIN", "ALTER USER u PASSWORD *** LOGIN"),
        ("ALTER USER u PASSWORD U&'hush'", "ALTER USER u PASSWORD ***"),
        ("ALTER USER u PASSWORD'hush'", "ALTER USER u PASSWORD***"),
        ("ALTER USER u PASSWORD $$hush$$;x", "ALTER USER u PASSWORD ***;x"),
        ("ALTER USER u PASSWORD $a$hu$$sh$a$;x", "ALTER USER u PASSWORD ***;x"),
        (
            "ALTER USER u PASSWORD /* ' */ -- '\n 'hush'",
            "ALTER USER u PASSWORD /* ' */ -- '\n ***",
        ),
        ("ALTER USER u PASSWORD 'x'\n 'hush' LOGIN", "ALTER USER u PASSWORD *** LOGIN"),
        ("ALTER USER u PASSWORD 'hu", "ALTER USER u PASSWORD ***"),
        ("ALTER USER u PASSWORD $x$hu", "ALTER USER u PASSWORD ***"),
        (
            "CREATE USER MAPPING OPTIONS (user 'u', password 'hush')",
            "CREATE USER MAPPING OPTIONS (user 'u', password ***)",
        ),
        (
            "CREATE SUBSCRIPTION s CONNECTION 'host=h password=hush user=u'",
            "CREATE SUBSCRIPTION s CONNECTION 'host=h password=*** user=u'",
        ),
        ("'password = ''hush hush'' x=1'", "'password = *** x=1'"),
        (
            "UPDATE u SET password = 'hush' WHERE x",
            "UPDATE u SET password = *** WHERE x",
        ),
        ("UPDATE u SET \"password\"='hush'", 'UPDATE u SET "password"=***'),
        (
            "ALTER USER u PASSWORD 'x' -- it's\n 'hush' LOGIN",
            "ALTER USER u PASSWORD *** LOGIN",
        ),
        (
            "DO $$BEGIN EXECUTE 'ALTER ROLE u PASSWORD ''hu sh'' LOGIN'; END$$",
            "DO $$BEGIN EXECUTE 'ALTER ROLE u PASSWORD *** LOGIN'; END$$",
        ),
        (r"E'host=h password=\'hu sh\' user=u'", "E'host=h password=*** user=u'"),
        (r"E'host=h password=\'hu \\ sh", "E'host=h password=***"),
        (
            "CREATE SUBSCRIPTION s CONNECTION 'postgresql://u:hush@h/db' PUBLICATION p",
            "CREATE SUBSCRIPTION s CONNECTION 'postgresql://u:***@h/db' PUBLICATION p",
        ),
        ("'postgres://u:hu", "'postgres://u:***"),
        ("'ldapbindpasswd=hush'", "'ldapbindpasswd=***'"),
        ("""{"password": "hush", "a": 1}""", """{"password": ***, "a": 1}"""),
    ],
)
def test_masked(text: str, shown: str) -> None:
    """What stands around it stays."""
    assert masked(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SELECT 'hush'",
        "ALTER ROLE u PASSWORD NULL",
        'FATAL password authentication failed for user "u"',
        "SELECT password, name FROM u WHERE name = 'x'",
        "SELECT 'postgresql://u@h:5432/db', 'postgres://h/db'",
    ],
)
def test_without_one(text: str) -> None:
    """Everything else is shown as it is."""
    assert masked(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "password" + "/**/" * 5000,
        "password 'x'" + "/**/" * 5000,
        "password/*" * 2000,
        "password" + "-- \n" * 5000 + "x",
        "password" + " " * 20000 + "x",
        "password'" + "''" * 10000,
        "password''" * 2000,
        "password$a$" * 2000,
        r"password=\'" + r"\\" * 10000,
        "postgres://" * 2000,
    ],
    ids=lambda text: f"{text[:16]}...",
)
def test_hostile_texts(text: str) -> None:
    """They take no longer than others; some took for ever."""
    assert masked(text)[:8] == text[:8]
