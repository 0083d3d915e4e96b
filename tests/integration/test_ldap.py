"""auth_type ldap, with an OpenLDAP server of the tests' own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from pgswitch.demo.processes import Account, Child, free_port, hand_over, subdirectory
from testkit.pgwire import startup
from tests.fakes.messages import message
from tests.integration.running import PASSWORDS, PgSwitchFactory, RawClient
from tests.integration.tls import Certificates
from tests.waiting import wait_until

ONE_INSTALLATION = True
REFUSED = "LDAP authentication failed"
BASE = "dc=example,dc=net"
MANAGER, MANAGER_PASSWORD = f"cn=manager,{BASE}", "manage"
MODULES = Path("/usr/lib/ldap")

CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath {modules}
moduleload back_mdb.la
pidfile {place}/pid
TLSCACertificateFile {root}
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
database mdb
maxsize 10485760
suffix "{base}"
directory {place}/data
rootdn "{manager}"
rootpw {password}
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"""

ENTRIES = """dn: {base}
objectClass: dcObject
objectClass: organization
dc: example
o: example

dn: uid=scram,{base}
objectClass: inetOrgPerson
uid: scram
cn: scram
sn: one
mail: scram@example.net
userPassword: scram-secret
"""


def slapd() -> str:
    """Return the program; install it where that is asked for (CI) and possible."""
    path = "/usr/sbin:" + os.environ.get("PATH", "")
    found = shutil.which("slapd", path=path)
    if found is None and os.environ.get("CI") and os.geteuid() == 0:
        subprocess.run(
            ["apt-get", "install", "-y", "-q", "--no-install-recommends", "slapd"],
            check=False,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
        found = shutil.which("slapd", path=path)
    if found is None:
        pytest.skip("LDAP IS NOT TESTED: there is no slapd (apt-get install slapd)")
    return found


class Ports(NamedTuple):
    """Where the directory listens."""

    plain: int
    tls: int


@pytest.fixture
def directory_port(ports: Ports) -> int:
    """Return the port for connections without TLS, or with StartTLS."""
    return ports.plain


@pytest.fixture
def ports(
    directory: Path, account: Account | None, certificates: Certificates
) -> Iterator[Ports]:
    """Start a directory with one user; yield its ports."""
    program, place = slapd(), subdirectory(directory, "ldap", account)
    subdirectory(place, "data", account)
    configuration, entries = place / "slapd.conf", place / "entries.ldif"
    configuration.write_text(
        CONFIGURATION.format(
            modules=MODULES,
            root=certificates.root,
            certificate=certificates.server[0],
            key=certificates.server[1],
            place=place,
            base=BASE,
            manager=MANAGER,
            password=MANAGER_PASSWORD,
        )
    )
    entries.write_text(ENTRIES.format(base=BASE))
    for path in (configuration, entries):
        hand_over(path, account)
    port, tls_port = free_port(), free_port()

    def run(command: list[str], name: str) -> Child:
        log = place / f"{name}.log"
        log.touch()
        hand_over(log, account)
        return Child(command, name=name, log_path=log, directory=place, account=account)

    filling = run([program, "-Ta", "-f", str(configuration), "-l", str(entries)], "add")
    wait_until(lambda: filling.exit_code is not None, "the end of slapadd")
    assert filling.exit_code == 0, (place / "add.log").read_text()
    url = f"ldap://127.0.0.1:{port} ldaps://127.0.0.1:{tls_port}"
    server = run([program, "-d", "0", "-f", str(configuration), "-h", url], "slapd")

    def listens() -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, "slapd")
    yield Ports(port, tls_port)
    server.stop()


SIMPLE = f'ldapserver=127.0.0.1 ldapprefix="uid=" ldapsuffix=",{BASE}"'
SEARCHED = f'ldapserver=127.0.0.1 ldapbasedn="{BASE}"'
AS_MANAGER = f'{SEARCHED} ldapbinddn="{MANAGER}" ldapbindpasswd={MANAGER_PASSWORD}'


@pytest.mark.parametrize(
    "options",
    [
        SIMPLE,
        SEARCHED,
        f"{AS_MANAGER} ldapsearchfilter=(mail=$username@example.net)",
        f'ldapserver="127.0.0.2 127.0.0.1" ldapbasedn="{BASE}"',
        f"ldapurl=ldap://127.0.0.1/{BASE}?uid?sub",
    ],
    ids=["simple", "search", "manager", "second server", "url"],
)
def test_passwords(
    pgswitch: PgSwitchFactory, directory_port: int, options: str
) -> None:
    """The directory judges; the good password opens the server as well."""
    if "ldapurl" in options:
        options = (
            options.replace("127.0.0.1/", f"127.0.0.1:{directory_port}/").replace(
                "ldapurl=", 'ldapurl="'
            )
            + '"'
        )
    else:
        options += f" ldapport={directory_port}"
    pooler = pgswitch(auth_type="ldap", auth_ldap_options=options)
    assert pooler.execute("SELECT current_user") == [("scram",)]
    for user, password in (
        ("scram", "wrong"),
        ("stranger", "scram-secret"),
        ("sc*", "scram-secret"),
        ("scram)(uid=*", "scram-secret"),
    ):
        with pytest.raises(psycopg.OperationalError, match=REFUSED):
            psycopg.connect(
                host="127.0.0.1",
                port=pooler.port,
                user=user,
                password=password,
                dbname="bench",
            )
    for secret in (PASSWORDS["scram"], MANAGER_PASSWORD):
        assert secret not in pooler.log_text().replace(MANAGER, "")


@pytest.mark.parametrize("way", ["StartTLS", "ldaps"])
@pytest.mark.parametrize("trusted", [True, False])
def test_encrypted(  # noqa: PLR0917 - fixtures
    pgswitch: PgSwitchFactory,
    ports: Ports,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    trusted: bool,  # noqa: FBT001 - of the test
) -> None:
    """No password goes to a directory whose certificate no trusted authority signed."""
    authority = certificates.root if trusted else certificates.stranger.path
    monkeypatch.setenv("LDAPTLS_CACERT", str(authority))
    options = f"{SIMPLE} ldaptls=1 ldapport={ports.plain}"
    if way == "ldaps":
        options = f"{SIMPLE} ldapscheme=ldaps ldapport={ports.tls}"
    pooler = pgswitch(auth_type="ldap", auth_ldap_options=options)
    if trusted:
        assert pooler.execute("SELECT current_user") == [("scram",)]
        return
    with pytest.raises(psycopg.OperationalError, match=REFUSED):
        pooler.connect()
    pooler.wait_for_log("LDAP server 127.0.0.1")


def test_from_an_hba_line(
    pgswitch: PgSwitchFactory,
    directory_port: int,
    directory: Path,
    account: Account | None,
) -> None:
    """Options are the rest of the line; others log in by their own rules."""
    hba = directory / "hba"
    hba.write_text(
        f"host all scram all ldap {SIMPLE} ldapport={directory_port}\n"
        "host all all all scram-sha-256\n"
    )
    hand_over(hba, account)
    pooler = pgswitch(auth_type="hba", auth_hba_file=str(hba))
    assert pooler.execute("SELECT 1") == [(1,)]
    assert pooler.execute("SELECT 1", user="plain") == [(1,)]
    with pytest.raises(psycopg.OperationalError, match=REFUSED):
        pooler.connect(password="wrong")


def test_a_directory_that_is_down(pgswitch: PgSwitchFactory) -> None:
    """No login succeeds, the log says why, and other methods are not disturbed."""
    port = free_port()
    pooler = pgswitch(auth_type="ldap", auth_ldap_options=f"{SIMPLE} ldapport={port}")
    with pytest.raises(psycopg.OperationalError, match=REFUSED):
        pooler.connect()
    pooler.wait_for_log(f"LDAP server 127.0.0.1:{port}")


def test_a_directory_that_is_silent(pgswitch: PgSwitchFactory) -> None:
    """Is given up after its time."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        options = f"{SIMPLE} ldapport={port}"
        pooler = pgswitch(auth_type="ldap", auth_ldap_options=options)
        with pytest.raises(psycopg.OperationalError, match=REFUSED):
            pooler.connect()


def test_a_silent_directory_delays_no_others(
    pgswitch: PgSwitchFactory, directory: Path, account: Account | None
) -> None:
    """More logins hang in it than there are threads; other logins still succeed."""
    hba = directory / "hba"
    with ExitStack() as held:
        silent = held.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
        port = silent.getsockname()[1]
        hba.write_text(
            f"host all scram all ldap {SIMPLE} ldapport={port}\n"
            "host all plain all password\nhost all all all scram-sha-256\n"
        )
        hand_over(hba, account)
        pooler = pgswitch(auth_type="hba", auth_hba_file=str(hba))
        hanging = [held.enter_context(RawClient(pooler.port)) for _ in range(40)]
        for client in hanging:
            client.send(startup("user", "scram", "database", "bench"))
            assert client.read_message()[0] == b"R"
            client.send(message(b"p", b"scram-secret\0"))
        for user in ("plain", "md5"):
            assert pooler.execute("SELECT 1", user=user) == [(1,)]
        logins = [r for r in pooler.console("SHOW CLIENTS") if r["user"] == "scram"]
        refused = pooler.log_text().count(f"pooler error: {REFUSED}")
        assert refused < len(hanging), "the others did not wait for these"
        assert logins == [], "no user got in"
