"""The HBA file, from the client's side."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import psycopg
import pytest

from pgswitch.demo.processes import Account, hand_over
from tests.integration.running import PgSwitch, PgSwitchFactory

ONE_INSTALLATION = True
ME = pwd.getpwuid(os.geteuid()).pw_name


RULES = """
# comment
host all admin samehost scram-sha-256
host all all 127.0.0.1/32 gss
host bench scram 127.0.0.1 255.255.255.255 "scram-sha-256"
host sameuser,bench md5,nobody samenet md5
host bench plain localhost password
host all trusted ::1/128 trust
host all trusted all reject
"""


def with_files(
    pgswitch: PgSwitchFactory,
    directory: Path,
    account: Account | None,
    hba: str,
    ident: str = "",
) -> PgSwitch:
    """Start pgswitch with these files."""
    for name, text in (("hba", hba), ("ident", ident)):
        (directory / name).write_text(text)
        hand_over(directory / name, account)
    return pgswitch(
        users={ME: "unused"},
        auth_type="hba",
        auth_hba_file=str(directory / "hba"),
        auth_ident_file=str(directory / "ident"),
        unix_socket_dir=str(directory),
    )


def asked(pooler: PgSwitch, user: str) -> str:
    """Return the error of a login, empty if it succeeds."""
    try:
        pooler.connect(user).close()
    except psycopg.OperationalError as error:
        return str(error).strip().rpartition("FATAL:  ")[2].split("\n")[0]
    return ""


def test_rules_by_user_and_address(
    pgswitch: PgSwitchFactory, directory: Path, account: Account | None
) -> None:
    """Each user its method; lines that are none are left out."""
    pooler = with_files(
        pgswitch,
        directory,
        account,
        RULES,
    )
    pooler.wait_for_log("could not parse hba config line 4")
    assert asked(pooler, "scram") == ""
    assert asked(pooler, "md5") == ""
    assert asked(pooler, "plain") == ""
    assert asked(pooler, "trusted") == "login rejected"
    (directory / "hba").write_text("host all admin all md5\nhost all trusted all trust")
    pooler.console("RELOAD")
    assert asked(pooler, "trusted") == ""
    assert asked(pooler, "scram") == "no authentication method is found"


@pytest.mark.parametrize(
    ("ident", "user", "let_in"),
    [
        ("", ME, True),
        ("", "trusted", False),
        (rf"m /^({ME[0]}).*$ trusted", "trusted", True),
        (f"m {ME} trusted", "scram", False),
    ],
)
def test_peer(  # noqa: PLR0917 - fixtures
    pgswitch: PgSwitchFactory,
    directory: Path,
    account: Account | None,
    ident: str,
    user: str,
    let_in: bool,  # noqa: FBT001 - of the test
) -> None:
    """The operating system's user, over the unix socket; no password is asked for."""
    rule = "local all all peer" + (" map=m" if ident else "")
    pooler = with_files(pgswitch, directory, account, rule, ident)
    try:
        psycopg.connect(
            host=str(directory), port=pooler.port, user=user, dbname="bench"
        ).close()
        answer = ""
    except psycopg.OperationalError as error:
        answer = str(error)
    assert ("unix socket login rejected" in answer) is not let_in
    if let_in and user == ME:
        # The server has no such user: its saying so proves that we got that far.
        assert f'"{ME}"' in answer
    elif let_in:
        assert answer == ""
