"""Contexts: what settings and files make of them, and which peers they accept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from OpenSSL import SSL

from pgswitch.tls.contexts import (
    TlsOptions,
    TlsSetupError,
    context_for_clients,
    context_for_servers,
    reason_of,
    verify_error,
)
from tests.tls_files import Authority
from tests.unit.tls.shaking import shake_hands


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority."""
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def serving(authority: Authority) -> TlsOptions:
    """Return how clients are served without asking for their certificates."""
    certificate, key = authority.issue("pooler", hosts=["localhost"])
    return TlsOptions(mode="require", cert_file=str(certificate), key_file=str(key))


ASKING = TlsOptions(mode="require")


def handshake(
    serving: TlsOptions, asking: TlsOptions = ASKING
) -> tuple[SSL.Connection, SSL.Connection]:
    """Return both ends of a connection, ours to clients first."""
    server = SSL.Connection(context_for_clients(serving), None)
    server.set_accept_state()
    client = SSL.Connection(context_for_servers(asking), None)
    client.set_connect_state()
    shake_hands(client, server)
    return server, client


def showing(authority: Authority, name: str, **more: int) -> TlsOptions:
    """Return the options of a client that shows a certificate."""
    certificate, key = authority.issue(name, **more)  # type: ignore[arg-type]
    return replace(ASKING, cert_file=str(certificate), key_file=str(key))


def test_newest(serving: TlsOptions) -> None:
    """By default TLS 1.3, and PostgreSQL's ALPN."""
    server, client = handshake(serving)
    assert server.get_protocol_version_name() == "TLSv1.3"
    assert client.get_alpn_proto_negotiated() == b"postgresql"


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"protocols": ("tlsv1.2",)}, "TLSv1.2/ECDHE-ECDSA-AES256-GCM-SHA384"),
        (
            {"protocols": ("all", "!tlsv1.3"), "ciphers": "ECDHE+AES128"},
            "TLSv1.2/ECDHE-ECDSA-AES128-GCM-SHA256",
        ),
        (
            {"tls13_ciphers": "TLS_CHACHA20_POLY1305_SHA256"},
            "TLSv1.3/TLS_CHACHA20_POLY1305_SHA256",
        ),
        ({"protocols": ("tlsv1.1", "tlsv1.3")}, "TLSv1.3/TLS_AES_256_GCM_SHA384"),
    ],
)
def test_versions_and_ciphers(
    serving: TlsOptions, changed: dict[str, object], name: str
) -> None:
    """Those of the settings are used, whichever side has them."""
    for options in (
        (replace(serving, **changed), ASKING),  # type: ignore[arg-type]
        (serving, replace(ASKING, **changed)),  # type: ignore[arg-type]
    ):
        server, _client = handshake(*options)
        version, cipher = name.split("/")
        assert server.get_protocol_version_name() == version
        assert server.get_cipher_name() == cipher


def test_no_version_in_common(serving: TlsOptions) -> None:
    """A client with too old a version gets an alert and no service."""
    with pytest.raises(SSL.Error) as refused:
        handshake(
            replace(serving, protocols=("tlsv1.3",)),
            replace(ASKING, protocols=("tlsv1.2",)),
        )
    assert reason_of(refused.value) == "unsupported protocol"


@pytest.mark.parametrize(
    ("of_clients", "of_servers", "name"),
    [
        ("prime256v1", "auto", "secp256r1"),
        ("P-521", "auto", "secp521r1"),
        ("auto", "secp384r1", "secp384r1"),
        ("X25519", "auto", "x25519"),
        ("X448:prime256v1", "prime256v1:X25519", "secp256r1"),
    ],
)
def test_curves(
    serving: TlsOptions, of_clients: str, of_servers: str, name: str
) -> None:
    """Only those that the settings of either side name are used."""
    server, _client = handshake(
        replace(serving, ecdhcurve=of_clients), replace(ASKING, ecdhcurve=of_servers)
    )
    assert (server.get_group_name() or "").lower() == name


def test_no_curve_in_common(serving: TlsOptions) -> None:
    """Then there is no connection, rather than one by an unlisted curve."""
    with pytest.raises(SSL.Error):
        handshake(
            replace(serving, ecdhcurve="X25519:X448"),
            replace(ASKING, ecdhcurve="prime256v1:secp384r1"),
        )


def test_key_exchange_without_curves(authority: Authority, serving: TlsOptions) -> None:
    """Up to TLS 1.2 by Diffie-Hellman's numbers, if they are not off too."""
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

    certificate, key = authority.issue("rsa", key=rsa.generate_private_key(65537, 2048))
    options = replace(
        serving,
        cert_file=str(certificate),
        key_file=str(key),
        protocols=("tlsv1.2",),
        ecdhcurve="none",
    )
    server, _client = handshake(options)
    assert (server.get_cipher_name() or "").startswith("DHE-RSA-")
    with pytest.raises(TlsSetupError, match="leaves no key exchange"):
        handshake(replace(options, dheparams="none", ciphers="DHE"))


def test_client_certificates(authority: Authority, serving: TlsOptions) -> None:
    """Must be shown from verify-ca on; below it one that is shown must be good."""
    stranger = Authority(authority.folder, "stranger")
    good, foreign = showing(authority, "good"), showing(stranger, "foreign")
    expired = showing(authority, "expired", days=-1)
    for mode in ("allow", "prefer", "require", "verify-ca", "verify-full"):
        options = replace(serving, mode=mode, ca_file=str(authority.path))
        server, _client = handshake(options, good)
        assert server.get_peer_certificate(as_cryptography=True) is not None
        for bad in (foreign, expired):
            with pytest.raises(SSL.Error, match="certificate verify failed"):
                handshake(options, bad)
        if mode.startswith("verify"):
            with pytest.raises(SSL.Error, match="did not return a certificate"):
                handshake(options)
        else:
            handshake(options)


def test_an_authority_between(authority: Authority, serving: TlsOptions) -> None:
    """A chain is followed as far as an authority that we know."""
    between = authority.authority("between")
    certificate, key = between.issue("leaf", chain=[between])
    chained = replace(ASKING, cert_file=str(certificate), key_file=str(key))
    options = replace(serving, mode="verify-ca", ca_file=str(authority.path))
    handshake(options, chained)
    certificate, key = between.issue("alone")
    alone = replace(ASKING, cert_file=str(certificate), key_file=str(key))
    with pytest.raises(SSL.Error, match="certificate verify failed"):
        handshake(options, alone)


def test_revoked(authority: Authority, serving: TlsOptions) -> None:
    """Revocation lists next to the authorities count, for authorities as well."""
    between = authority.authority("revoked-between")
    good, bad = showing(authority, "good"), showing(authority, "bad")
    chained_pair = between.issue("leaf2", chain=[between])
    chained = replace(
        ASKING, cert_file=str(chained_pair[0]), key_file=str(chained_pair[1])
    )
    lists = [
        authority.revoke("root", Path(bad.cert_file), between.path),
        between.revoke("between"),
    ]
    file = authority.folder / "with-lists.crt"
    file.write_bytes(b"".join(p.read_bytes() for p in (authority.path, *lists)))
    options = replace(serving, mode="verify-full", ca_file=str(file))
    handshake(options, good)
    for client in (bad, chained):
        server = SSL.Connection(context_for_clients(options), None)
        server.set_accept_state()
        other = SSL.Connection(context_for_servers(client), None)
        other.set_connect_state()
        with pytest.raises(SSL.Error):
            shake_hands(other, server)
        assert verify_error(server) == "certificate revoked"


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_server_certificates(
    authority: Authority, serving: TlsOptions, mode: str
) -> None:
    """Of our authorities, and not expired; below verify-ca anybody's."""
    asking = TlsOptions(mode=mode, ca_file=str(authority.path))
    handshake(serving, asking)
    stranger = Authority(authority.folder, "stranger")
    for pair in (stranger.issue("foreign"), authority.issue("old", days=-1)):
        bad = replace(serving, cert_file=str(pair[0]), key_file=str(pair[1]))
        with pytest.raises(SSL.Error, match="certificate verify failed"):
            handshake(bad, asking)
        handshake(bad)


def test_other_protocols(serving: TlsOptions) -> None:
    """An offer of other protocols alone is refused by an alert (RFC 7301)."""
    server = SSL.Connection(context_for_clients(serving), None)
    server.set_accept_state()
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_alpn_protos([b"h2"])
    client = SSL.Connection(context, None)
    client.set_connect_state()
    with pytest.raises(SSL.Error, match="no application protocol"):
        shake_hands(client, server)
    with pytest.raises(SSL.Error, match="alert no application protocol"):
        client.do_handshake()


# What makes no context.


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"cert_file": ""}, "client_tls_sslmode needs client_tls_key_file and client"),
        ({"key_file": ""}, "client_tls_sslmode needs client_tls_key_file and client"),
        ({"mode": "verify-full"}, "verify-full needs client_tls_ca_file"),
        ({"key_file": "/no/file"}, "could not read client_tls_key_file=/no/file: No s"),
        ({"cert_file": "/"}, "could not read client_tls_cert_file=/: Is a directory"),
        ({"ca_file": "/no/file"}, "could not read client_tls_ca_file=/no/file: No su"),
        ({"ciphers": "nonsense"}, "client_tls_ciphers=nonsense: no cipher match"),
        (
            {"tls13_ciphers": "nonsense"},
            "failed to set the TLSv1.3 cipher suites client_tls13_ciphers=nonsense: no",
        ),
        ({"protocols": ("secure", "!all")}, "client_tls_protocols leaves no version"),
        ({"ecdhcurve": "nonsense"}, "client_tls_ecdhcurve=nonsense: unknown curve"),
        ({"ecdhcurve": "X25519:"}, "client_tls_ecdhcurve=X25519:: unknown curve"),
    ],
)
def test_refused_for_clients(
    serving: TlsOptions, changed: dict[str, object], text: str
) -> None:
    """The setting is named, and what is wrong with it."""
    with pytest.raises(TlsSetupError) as refused:
        context_for_clients(replace(serving, **changed))  # type: ignore[arg-type]
    assert text in str(refused.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (TlsOptions(mode="prefer", is_direct=True), "sslnegotiation=direct needs serv"),
        (TlsOptions(mode="require", key_file="/no/file"), "belong together"),
        (
            TlsOptions(mode="require", key_file="/no/file", cert_file="/no/file"),
            "could not read server_tls_cert_file=/no/file: No such file or directory",
        ),
        (TlsOptions(mode="verify-ca", ca_file="/no/file"), "could not read server_tls"),
    ],
)
def test_refused_for_servers(options: TlsOptions, text: str) -> None:
    """The same on the other side."""
    with pytest.raises(TlsSetupError) as refused:
        context_for_servers(options)
    assert text in str(refused.value)


def test_broken_files(authority: Authority, serving: TlsOptions) -> None:
    """Garbage, a key that is another's, and one that wants a passphrase."""
    garbage = authority.folder / "garbage"
    garbage.write_text("-----BEGIN NOTHING-----\n")
    _other, key = authority.issue("another")
    locked = authority.issue("locked", passphrase=b"secret")
    for changed, text in (
        ({"cert_file": str(garbage)}, "client_tls_cert_file="),
        ({"key_file": str(garbage)}, "is no private key in PEM form"),
        ({"ca_file": str(garbage)}, "client_tls_ca_file="),
        ({"key_file": str(key)}, "does not fit client_tls_cert"),
        ({"cert_file": str(locked[0]), "key_file": str(locked[1])}, "passphrase"),
    ):
        with pytest.raises(TlsSetupError, match=text):
            context_for_clients(replace(serving, **changed))  # type: ignore[arg-type]
