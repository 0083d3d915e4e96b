"""The contexts in force, and what a reload makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgswitch.config.load import load
from pgswitch.config.model import Configuration
from pgswitch.tls.contexts import TlsSetupError
from pgswitch.tls.endpoints import TlsContexts
from tests.tls_files import Authority


class Scene:
    """A configuration file, and certificates next to it."""

    def __init__(self, folder: Path) -> None:
        """Write the certificates."""
        self.folder = folder
        self.authority = Authority(folder)
        self.certificate, self.key = self.authority.issue("pooler")
        self.on = (
            f"client_tls_sslmode = require\nclient_tls_cert_file = {self.certificate}\n"
            f"client_tls_key_file = {self.key}\n"
        )

    def loaded(self, settings: str = "", *entries: str) -> Configuration:
        """Write and read the file; the databases are a, b and so on."""
        lines = [f"{'abc'[at]} = {entry}" for at, entry in enumerate(entries)]
        path = self.folder / "pgswitch.ini"
        path.write_text("\n".join([f"[pgbouncer]\n{settings}\n[databases]", *lines]))
        return load(str(path))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Return a folder with certificates."""
    return Scene(tmp_path)


def test_off(scene: Scene) -> None:
    """Nothing for clients; for servers nothing where it is disabled."""
    configuration = scene.loaded(
        "server_tls_sslmode=disable", "", "server_tls_sslmode=allow"
    )
    book = TlsContexts(configuration)
    assert book.clients is None
    assert book.server(configuration.databases["a"]) is None
    assert book.server(configuration.databases["b"]) is not None


def test_shared(scene: Scene) -> None:
    """Databases with the same settings have the same context."""
    configuration = scene.loaded("", "", "host=x", "server_tls_sslmode=require")
    book = TlsContexts(configuration)
    first, second, other = map(book.server, configuration.databases.values())
    assert first is second
    assert first is not other


def test_a_reload(scene: Scene) -> None:
    """Everything is built again, from files that may have changed."""
    configuration = scene.loaded(scene.on, "")
    book = TlsContexts(configuration)
    before = book.clients, book.server(configuration.databases["a"])
    scene.authority.issue("pooler", "new name")
    book.configure(configuration)
    after = book.clients, book.server(configuration.databases["a"])
    assert before[0] is not after[0]
    assert before[1] is not after[1]
    shown = [
        side.connection(None).get_certificate(as_cryptography=True)
        for side in (before[0], after[0])
        if side is not None
    ]
    assert shown[0] != shown[1]


@pytest.mark.parametrize("mode", ["require", "disable"])
def test_a_reload_that_fails(scene: Scene, mode: str) -> None:
    """All stays as it was, the modes too."""
    configuration = scene.loaded(f"{scene.on}server_tls_sslmode={mode}", "")
    book = TlsContexts(configuration)
    before = book.clients, book.server(configuration.databases["a"])
    scene.key.write_text("garbage")
    worse = scene.loaded(f"{scene.on}server_tls_sslmode=allow", "")
    with pytest.raises(TlsSetupError, match="client_tls_key_file"):
        book.configure(worse)
    current = [book.is_current]
    assert (book.clients, book.server(worse.databases["a"])) == before
    scene.authority.issue("pooler")
    book.configure(worse)
    current.append(book.is_current)
    assert current == [False, True]
    assert book.clients is not before[0]


def test_a_line_that_came_with_it(scene: Scene) -> None:
    """It is not reached with less than it asks for."""
    book = TlsContexts(scene.loaded("server_tls_sslmode = disable", ""))
    worse = scene.loaded(
        "server_tls_sslmode = disable",
        "server_tls_sslmode=verify-full server_tls_ca_file=/no/file",
        "server_tls_sslmode=require",
    )
    with pytest.raises(TlsSetupError):
        book.configure(worse)
    with pytest.raises(TlsSetupError):
        book.server(worse.databases["a"])
    assert book.server(worse.databases["b"]) is not None


def test_a_start_that_fails(scene: Scene) -> None:
    """There is no book."""
    with pytest.raises(TlsSetupError):
        TlsContexts(scene.loaded("client_tls_sslmode = require"))
