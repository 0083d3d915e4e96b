"""The two sides of TLS, and what they say of a connection."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from pgswitch.tls.certificates import TlsFacts, WrongHost, end_point_of
from pgswitch.tls.contexts import TlsOptions
from pgswitch.tls.endpoints import ClientTls, NoProtocol, PeerAlert, ServerTls
from tests.tls_files import Authority
from tests.unit.tls.shaking import shake_hands


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority."""
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def serving(authority: Authority) -> TlsOptions:
    """Return how clients are served: each shows a certificate."""
    certificate, key = authority.issue("pooler", hosts=["localhost", "127.0.0.1"])
    return TlsOptions(
        mode="verify-ca",
        cert_file=str(certificate),
        key_file=str(key),
        ca_file=str(authority.path),
    )


@pytest.fixture(scope="module")
def asking(authority: Authority) -> TlsOptions:
    """Return how servers are connected to: with a certificate, and verified."""
    certificate, key = authority.issue("app", "common", ["alternative"])
    return TlsOptions(
        mode="verify-full",
        cert_file=str(certificate),
        key_file=str(key),
        ca_file=str(authority.path),
    )


def facts(
    serving: TlsOptions, asking: TlsOptions, host: str = "localhost"
) -> tuple[TlsFacts, TlsFacts]:
    """Return what each side says of the other."""
    to_client, to_server = ClientTls(serving), ServerTls(asking)
    near, far = to_client.connection(None), to_server.connection(None, host)
    shake_hands(far, near)
    return to_client.facts(near), to_server.facts(far, host)


def test_facts(serving: TlsOptions, asking: TlsOptions) -> None:
    """Both know their peer, and the same certificate for channel binding."""
    of_client, of_server = facts(replace(serving, ecdhcurve="prime256v1"), asking)
    text = "TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH=prime256v1"
    assert of_client.description == of_server.description == text
    assert of_client.peer_names == ("alternative",)
    assert of_server.peer_names == ("localhost",)
    shown = x509.load_pem_x509_certificate(Path(serving.cert_file).read_bytes())
    assert of_client.end_point == of_server.end_point == end_point_of(shown)


def test_a_client_without_certificate(serving: TlsOptions, asking: TlsOptions) -> None:
    """It has no names."""
    of_client, _server = facts(
        replace(serving, mode="require"), replace(asking, cert_file="", key_file="")
    )
    assert of_client.peer_names == ()


def test_older_versions(serving: TlsOptions, asking: TlsOptions) -> None:
    """TLS 1.2 is described in the same way."""
    of_client, _server = facts(
        replace(serving, protocols=("tlsv1.2",), ecdhcurve="p-256"), asking
    )
    cipher = "ECDHE-ECDSA-AES256-GCM-SHA384"
    assert of_client.description == f"TLSv1.2/{cipher}/ECDH=prime256v1"


@pytest.mark.parametrize("host", ["other.example.com", "127.0.0.2"])
def test_another_host(serving: TlsOptions, asking: TlsOptions, host: str) -> None:
    """Only verify-full minds."""
    with pytest.raises(WrongHost, match=host):
        facts(serving, asking, host)
    facts(serving, replace(asking, mode="verify-ca"), host)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", b"localhost"),
        ("db.example.com.", b"db.example.com"),
        ("bücher.example", b"xn--bcher-kva.example"),
        ("127.0.0.1", None),
        ("::1", None),
        ("a..b", None),
        ("x" * 64, None),
    ],
)
def test_server_name(asking: TlsOptions, host: str, name: bytes | None) -> None:
    """SNI tells names; addresses are none (RFC 6066)."""
    assert ServerTls(asking).connection(None, host).get_servername() == name


def odd_certificate(authority: Authority) -> TlsOptions:
    """Return how clients are served with a certificate that cryptography refuses.

    Its common name is said to be a PrintableString, and is none.
    """
    paths = authority.issue("odd", "under_score", ["localhost"])
    made = x509.load_pem_x509_certificate(paths[0].read_bytes())
    utf8, printable = b"\x0c\x0bunder_score", b"\x13\x0bunder_score"
    signed = made.tbs_certificate_bytes.replace(utf8, printable)
    signature = authority.key.sign(signed, ec.ECDSA(hashes.SHA256()))
    kind = bytes.fromhex("300a06082a8648ce3d040302")  # ecdsa-with-SHA256 (RFC 5758)
    der = part(0x30, signed + kind + part(0x03, b"\0" + signature))
    paths[0].write_text(ssl.DER_cert_to_PEM_cert(der))
    with pytest.raises(ValueError, match="PrintableString"):
        x509.load_pem_x509_certificate(paths[0].read_bytes())
    return TlsOptions(mode="prefer", cert_file=str(paths[0]), key_file=str(paths[1]))


def part(tag: int, content: bytes) -> bytes:
    """Return a value of DER (X.690), longer than 127 bytes or not."""
    size = len(content)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + content


def test_a_certificate_that_cannot_be_taken_apart(
    authority: Authority, asking: TlsOptions
) -> None:
    """It encrypts; nothing is bound to it, and it is for no host."""
    serving = odd_certificate(authority)
    for mode in ("require", "verify-ca"):
        of_client, of_server = facts(serving, replace(asking, mode=mode))
        assert of_client.end_point == of_server.end_point == b""
        assert of_server.peer_names == ()
    with pytest.raises(WrongHost, match="'localhost' cannot be read"):
        facts(serving, asking)


def test_an_odd_certificate_of_a_client(
    authority: Authority, serving: TlsOptions, asking: TlsOptions
) -> None:
    """It names no user, whatever CA signed it."""
    odd = odd_certificate(authority)
    shown = replace(asking, cert_file=odd.cert_file, key_file=odd.key_file)
    of_client, _server = facts(serving, shown)
    assert of_client.peer_names == ()


def test_direct(serving: TlsOptions, asking: TlsOptions) -> None:
    """A server that does not choose the protocol may be of any kind."""
    direct = replace(asking, is_direct=True)
    facts(serving, direct)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_file(serving.cert_file)
    context.use_privatekey_file(serving.key_file)
    server = SSL.Connection(context, None)
    server.set_accept_state()
    side = ServerTls(direct)
    client = side.connection(None, "localhost")
    shake_hands(client, server)
    with pytest.raises(NoProtocol):
        side.facts(client, "localhost")


def test_an_objection_to_our_certificate(
    authority: Authority, serving: TlsOptions, asking: TlsOptions
) -> None:
    """With TLS 1.3 it comes when our part is done; nothing more is sent then."""
    stranger = Authority(authority.folder, "stranger").issue("foreign")
    shown = replace(asking, cert_file=str(stranger[0]), key_file=str(stranger[1]))
    side = ServerTls(shown)
    near = ClientTls(serving).connection(None)
    far = side.connection(None, "localhost")
    with pytest.raises(SSL.Error, match="certificate verify failed"):
        shake_hands(far, near)
    with pytest.raises(PeerAlert, match="alert unknown ca"):
        side.facts(far, "localhost")
