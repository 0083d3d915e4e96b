"""What the settings say about TLS, as values."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgswitch.config.load import load
from pgswitch.config.model import Configuration
from pgswitch.tls.contexts import TlsOptions, for_clients, for_servers, versions_in


def loaded(folder: Path, settings: str = "", entry: str = "") -> Configuration:
    """Read a configuration with one database, ``a``."""
    path = folder / "pgswitch.ini"
    path.write_text(f"[pgbouncer]\n{settings}\n[databases]\na = {entry}\n")
    return load(str(path))


@pytest.mark.parametrize(
    ("mode", "ca_file", "asks"),
    [
        ("disable", "ca", False),
        ("allow", "", False),
        ("allow", "ca", True),
        ("require", "", False),
        ("verify-ca", "", True),
    ],
)
def test_who_is_asked_for_certificates(mode: str, ca_file: str, *, asks: bool) -> None:
    """Clients are, where there is anybody to verify them by."""
    assert TlsOptions(mode=mode, ca_file=ca_file).asks_clients is asks


@pytest.mark.parametrize(
    ("words", "versions"),
    [
        ("secure", "1.2 1.3"),
        ("default", "1.2 1.3"),
        ("all", "1.0 1.1 1.2 1.3"),
        ("tlsv1", "1.0 1.1 1.2 1.3"),
        ("tlsv1.3", "1.3"),
        ("TLSv1.1 tlsv1.3", "1.1 1.3"),
        ("all !tlsv1.0 !TLSv1.1", "1.2 1.3"),
        ("!tlsv1.3", "1.0 1.1 1.2"),
        ("secure !secure", ""),
        ("secure !tlsv1.3 !tlsv1.2", ""),
        ("", ""),
    ],
)
def test_versions(words: str, versions: str) -> None:
    """Words add, words behind an exclamation mark take away, in order."""
    assert versions_in(words.split()) == tuple(
        f"tlsv{number}" for number in versions.split()
    )


def test_defaults(tmp_path: Path) -> None:
    """No TLS to clients; to servers where they offer it."""
    configuration = loaded(tmp_path)
    settings = configuration.settings
    assert for_clients(settings) == TlsOptions(mode="disable")
    assert for_servers(settings) == TlsOptions(mode="prefer")
    assert for_servers(settings, configuration.databases["a"]) == for_servers(settings)


def test_a_database_has_its_own(tmp_path: Path) -> None:
    """What its line says counts, the settings for the rest."""
    configuration = loaded(
        tmp_path,
        "server_tls_sslmode = require\nserver_tls_ca_file = /all\n"
        "server_tls_protocols = all",
        "server_tls_sslmode=verify-full server_tls_ciphers=AES sslnegotiation=direct",
    )
    settings = configuration.settings
    assert for_servers(settings, configuration.databases["a"]) == TlsOptions(
        mode="verify-full",
        ca_file="/all",
        protocols=("all",),
        ciphers="AES",
        is_direct=True,
    )


@pytest.mark.parametrize(
    ("mode", "required", "verifies"),
    [
        ("allow", False, False),
        ("prefer", False, False),
        ("require", True, False),
        ("verify-ca", True, True),
        ("verify-full", True, True),
    ],
)
def test_modes(mode: str, *, required: bool, verifies: bool) -> None:
    """What each insists on."""
    options = TlsOptions(mode=mode)
    assert (options.is_required, options.verifies) == (required, verifies)


@pytest.mark.parametrize("word", ["", "default", "Secure", "normal", "fast"])
def test_words_for_the_librarys_ciphers(word: str) -> None:
    """Those of PgBouncer's settings; anything else is OpenSSL's to read."""
    assert TlsOptions(mode="require", ciphers=word).cipher_list is None
    assert TlsOptions(mode="require", ciphers="HIGH").cipher_list == "HIGH"
