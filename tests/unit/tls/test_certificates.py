"""Names in certificates, and their hashes for channel binding."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID

from pgswitch.tls.certificates import (
    WrongHost,
    common_names,
    end_point_of,
    names_in,
    verify_host,
)
from tests.tls_files import Authority


def load(path: Path) -> x509.Certificate:
    """Read a certificate."""
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_names(tmp_path: Path) -> None:
    """Those of subjectAltName alone, else the common name; addresses are no names."""
    authority = Authority(tmp_path)
    path, _key = authority.issue("app", "common", ["one", "two.example", "10.0.0.1"])
    assert names_in(load(path)) == ("one", "two.example")
    path, _key = authority.issue("alone")
    assert names_in(load(path)) == ("alone",)
    path, _key = authority.issue("place", "common", ["10.0.0.1"])
    assert names_in(load(path)) == ("common",)


def odd(tmp_path: Path, names: list[str], extension: bytes | None) -> x509.Certificate:
    """Return a certificate of these common names and a raw subjectAltName."""
    authority = Authority(tmp_path)
    now = authority.certificate
    key = ed25519.Ed25519PrivateKey.generate()
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(now.subject)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(now.not_valid_before_utc)
        .not_valid_after(now.not_valid_after_utc)
    )
    if extension is not None:
        kind = x509.SubjectAlternativeName.oid
        raw = x509.UnrecognizedExtension(kind, extension)
        builder = builder.add_extension(raw, critical=False)
    return builder.sign(key, None)


def test_several_common_names(tmp_path: Path) -> None:
    """The first counts, as for PostgreSQL; a certificate without any names no user."""
    assert names_in(odd(tmp_path, ["alice", "bob"], None)) == ("alice",)
    assert names_in(odd(tmp_path, ["alice", "bob\0"], None)) == ()
    assert names_in(odd(tmp_path, [], None)) == ()


def test_names_that_cannot_be_read(tmp_path: Path) -> None:
    """Unreadable names match no one: the common name does not replace them."""
    assert names_in(odd(tmp_path, ["alice"], b"\x30\x05garb")) == ()
    assert common_names(odd(tmp_path, ["alice"], b"\x30\x05garb")) == ("alice",)


def test_a_kind_of_name_that_cannot_be_read(tmp_path: Path) -> None:
    """An ediPartyName next to others: the same, and no other error."""
    certificate = odd(tmp_path, ["alice"], b"\x30\x06\xa5\x04\xa1\x02\x0c\x00")
    assert names_in(certificate) == ()
    with pytest.raises(WrongHost):
        verify_host(certificate, "alice")


def test_a_nul_in_a_name(tmp_path: Path) -> None:
    """It invalidates the whole certificate."""
    authority = Authority(tmp_path)
    path, _key = authority.issue("nul", "alice\0.evil.example", ["alice"])
    assert names_in(load(path)) == ()
    path, _key = authority.issue("nul", "alice", ["alice\0.evil.example"])
    assert names_in(load(path)) == ()


def test_end_point(tmp_path: Path) -> None:
    """The hash of the whole certificate, by the kind that its signature is of."""
    path, _key = Authority(tmp_path).issue("server")
    certificate = load(path)
    der = certificate.public_bytes(serialization.Encoding.DER)
    assert end_point_of(certificate) == hashlib.sha256(der).digest()


def test_an_unknown_kind_of_signature(tmp_path: Path) -> None:
    """Its hash is unknown."""
    path, _key = Authority(tmp_path).issue("server")
    der = load(path).public_bytes(serialization.Encoding.DER)
    ecdsa_with_sha256 = bytes.fromhex("06082a8648ce3d040302")
    unknown = der.replace(ecdsa_with_sha256, ecdsa_with_sha256[:-1] + b"\x7f")
    assert end_point_of(x509.load_der_x509_certificate(unknown)) == b""


def test_no_end_point(tmp_path: Path) -> None:
    """A signature without a hash of its own has no such binding."""
    authority = Authority(tmp_path)
    key = ed25519.Ed25519PrivateKey.generate()
    now = authority.certificate
    certificate = (
        x509.CertificateBuilder()
        .subject_name(now.subject)
        .issuer_name(now.subject)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(now.not_valid_before_utc)
        .not_valid_after(now.not_valid_after_utc)
        .sign(key, None)
    )
    assert end_point_of(certificate) == b""
