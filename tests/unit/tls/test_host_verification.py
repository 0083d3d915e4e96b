"""Certificates and the hosts that they are for."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID

from pgswitch.tls.certificates import WrongHost, is_address, verify_host
from tests.tls_files import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority."""
    return Authority(tmp_path_factory.mktemp("tls"))


def made(authority: Authority, common_name: str, *hosts: str) -> x509.Certificate:
    """Return a certificate."""
    path, _key = authority.issue("host", common_name, hosts)
    return x509.load_pem_x509_certificate(path.read_bytes())


@pytest.mark.parametrize(
    ("common_name", "hosts", "host"),
    [
        ("x", ("db.example.com",), "db.example.com"),
        ("x", ("a.example.com", "db.example.com"), "DB.example.com"),
        ("x", ("*.example.com",), "db.example.com"),
        ("x", ("db.example.com",), "db.example.com."),
        ("db.example.com", (), "db.example.com."),
        ("x", ("10.0.0.1",), "10.0.0.1"),
        ("x", ("::1",), "0:0::1"),
        ("db.example.com", (), "db.example.com"),
        ("*.example.com", (), "db.example.com"),
        ("10.0.0.1", (), "10.0.0.1"),
        ("localhost", (), "localhost"),
    ],
)
def test_good(
    authority: Authority, common_name: str, hosts: tuple[str, ...], host: str
) -> None:
    """By alternative name, by address, and by common name where neither is there."""
    verify_host(made(authority, common_name, *hosts), host)


@pytest.mark.parametrize(
    ("common_name", "hosts", "host"),
    [
        ("x", ("db.example.com",), "other.example.com"),
        ("x", ("*.example.com",), "a.db.example.com"),
        ("x", ("*.com",), "example.com"),
        ("x", ("db.example.com",), "10.0.0.1"),
        ("x", ("10.0.0.1",), "10.0.0.2"),
        # With alternative names the common name does not count.
        ("db.example.com", ("other.example.com",), "db.example.com"),
        ("10.0.0.1", ("db.example.com",), "10.0.0.1"),
        ("db.example.com", ("10.0.0.1",), "db.example.com"),
        ("other", (), "db.example.com"),
        ("10.0.0.1", (), "10.0.0.2"),
        ("db.example.com\0.evil.example", (), "db.example.com"),
        ("x", ("db.example.com\0.evil.example",), "db.example.com"),
    ],
)
def test_of_another_host(
    authority: Authority, common_name: str, hosts: tuple[str, ...], host: str
) -> None:
    """Refused, in words that name the host."""
    with pytest.raises(WrongHost, match=f"does not match host name '{host}'"):
        verify_host(made(authority, common_name, *hosts), host)


def test_several_common_names(authority: Authority) -> None:
    """Libpq looks at the first, and so do we."""
    now = authority.certificate
    key = ed25519.Ed25519PrivateKey.generate()
    names = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in "ab"]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(now.subject)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(now.not_valid_before_utc)
        .not_valid_after(now.not_valid_after_utc)
        .sign(key, None)
    )
    verify_host(certificate, "a")
    with pytest.raises(WrongHost):
        verify_host(certificate, "b")


@pytest.mark.parametrize(
    ("host", "expected"),
    [("10.0.0.1", True), ("::1", True), ("1.example.com", False), ("10.0.0", False)],
)
def test_addresses(host: str, *, expected: bool) -> None:
    """Only what is one in full."""
    assert is_address(host) == expected
