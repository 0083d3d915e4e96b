"""The command ``pgswitch check``."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgswitch.auth.hba_policy import CERT_IS_HOPELESS
from pgswitch.cli import main
from tests.tls_files import Authority

CLIENT_FILES = "client_tls_cert_file = {folder}/bad\nclient_tls_key_file = {folder}/bad"


def check(
    folder: Path, settings: str, capsys: pytest.CaptureFixture[str]
) -> tuple[int, list[str]]:
    """Return exit status and lines for a file with these settings."""
    path = folder / "x.ini"
    path.write_text(
        f"[databases]\ndb = host=h\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"unix_socket_dir = {folder}\n{settings}\n"
    )
    status = main(["check", str(path)])
    return status, capsys.readouterr().out.splitlines()


def test_a_good_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each setting, a sum at the end, status 0."""
    users = tmp_path / "users"
    users.write_text('"joe" "secret"\n')
    status, lines = check(tmp_path, f"auth_file = {users}\npkt_buf = 1", capsys)
    assert status == 0
    assert lines[0] == "[pgbouncer]"
    assert any(
        line.split()[:4] == ["pkt_buf", "=", "1", "ignored"] for line in lines
    ), lines
    assert any(line.split() == ["db:", "host", "=", "h", "acts"] for line in lines), (
        lines
    )
    assert lines[-1] == (
        f"{tmp_path}/x.ini: 1 databases; of 6 settings 5 act as in PgBouncer,"
        " 0 differ, 1 are ignored; 0 errors"
    )


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ("pool_mode = sometimes", 'invalid value "sometimes" for parameter pool_mode'),
        ("nonsense = 1", "nonsense"),
        ("auth_type = cert", "auth_type=cert requires client_tls_sslmode=verify-full"),
        ("auth_ldap_options = x", "auth_ldap_options: LDAP options: not understood"),
        ("auth_file = /no/such", "auth_file: /no/such does not exist"),
        ("pidfile = /no/such/pid", "pidfile: there is no folder /no/such"),
        ("unix_socket_dir = /no/such", "unix_socket_dir: there is no folder /no/such"),
        ("listen_addr =\nunix_socket_dir =", "nowhere to listen on"),
        ("auth_file = {folder}/bad", "in {folder}/bad"),
        ("routing_rules_py_module_file = {folder}/bad", "{folder}/bad"),
        (
            "auth_type = hba\nauth_hba_file = {folder}/bad",
            "could not parse hba config line 1: a quote without end at character 1",
        ),
        (
            "auth_type = hba\nauth_ident_file = {folder}/bad",
            "could not parse ident config line 1: a quote without end",
        ),
        (
            "auth_type = hba\nauth_hba_file = /no/such",
            "could not open hba config file /no/such: No such file or directory",
        ),
        (
            f"client_tls_sslmode = require\n{CLIENT_FILES}",
            "client_tls_cert_file={folder}/bad",
        ),
        (
            "client_tls_sslmode = require",
            "client_tls_sslmode needs client_tls_key_file and client_tls_cert_file",
        ),
        (
            "server_tls_sslmode = verify-full\nserver_tls_ca_file = {folder}/bad",
            "server_tls_ca_file={folder}/bad",
        ),
        (
            "[databases]\nx = server_tls_key_file={folder}/bad",
            "server_tls_key_file and server_tls_cert_file belong together",
        ),
    ],
)
def test_a_file_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: str, error: str
) -> None:
    """Each problem is a line; status 1."""
    (tmp_path / "bad").write_text('"joe\n')
    status, lines = check(tmp_path, settings.format(folder=tmp_path), capsys)
    assert status == 1
    errors = [line for line in lines if line.startswith("error: ")]
    assert any(error.format(folder=tmp_path) in line for line in errors), lines


def test_each_bad_line_of_the_users(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its number; what is good is not named."""
    users = tmp_path / "users"
    users.touch(0o600)
    users.write_text('; users\n"a" "1"\n"b" : "2"\n  ; old\n"c" "3\n"d" "4"\n')
    status, lines = check(tmp_path, f"auth_file = {users}", capsys)
    assert status == 1
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 2
    for error, number in zip(errors, (3, 5), strict=True):
        assert error.startswith("error: auth_file: broken auth file; accepted: ")
        assert error.endswith(f" (line {number}) in {users}")


def test_secrets_in_the_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A world-readable file causes a warning; it can be used all the same."""
    users = tmp_path / "users"
    users.write_text('"joe" "secret"\n')
    for mode, warnings in (
        (0o604, [f"warning: auth_file: {users} can be read by everyone (mode 0604)"]),
        (0o640, []),
    ):
        users.chmod(mode)
        status, lines = check(tmp_path, f"auth_file = {users}", capsys)
        assert status == 0
        assert [line for line in lines if line.startswith("warning: ")] == warnings


def test_files_that_others_may_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are warned of, code of rules too, and included files."""
    rules, more = tmp_path / "rules.py", tmp_path / "more.ini"
    rules.write_text("def routing_rules(username, query):\n    return None\n")
    more.touch()
    for path in (rules, more):
        path.chmod(0o646)
    status, lines = check(
        tmp_path, f"routing_rules_py_module_file = {rules}\n%include {more}", capsys
    )
    assert status == 0
    code = ", and with it the code that runs here"
    assert [line for line in lines if line.startswith("warning: ")] == [
        f"warning: configuration: {more} can be written by everyone (mode 0646)",
        f"warning: rules: {rules} can be written by everyone (mode 0646){code}",
    ]


@pytest.mark.parametrize("ca_file", ["", "{folder}/ca.crt"])
def test_certificates_never_requested(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ca_file: str
) -> None:
    """A line that says cert is warned of, unless clients are asked for theirs."""
    authority = Authority(tmp_path, "ca")
    certificate, key = authority.issue("pooler")
    (tmp_path / "hba").write_text("hostssl all all all cert\n")
    status, lines = check(
        tmp_path,
        f"auth_type = hba\nauth_hba_file = {tmp_path}/hba\n"
        "client_tls_sslmode = require\n"
        f"client_tls_cert_file = {certificate}\nclient_tls_key_file = {key}\n"
        f"client_tls_ca_file = {ca_file.format(folder=tmp_path)}",
        capsys,
    )
    assert status == 0
    warnings = [line for line in lines if line.startswith("warning: ")]
    assert warnings == ([] if ca_file else [f"warning: {CERT_IS_HOPELESS}"])


def test_auth_query_in_the_console(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It does not stop a start, but users who need the query cannot log in."""
    status, lines = check(tmp_path, "auth_dbname = pgbouncer", capsys)
    assert status == 0
    (warning,) = (line for line in lines if line.startswith("warning: "))
    assert warning.startswith("warning: auth_dbname: auth_query cannot run in")


def test_the_word_alone_is_a_file(capfd: pytest.CaptureFixture[str]) -> None:
    """As for PgBouncer, which knows no commands."""
    assert main(["check"]) == 1
    assert 'could not load file "check"' in capfd.readouterr().err
