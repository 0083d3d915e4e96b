"""Certificates for tests: an authority, and all that it signs."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
DAY = timedelta(days=1)


class Authority:
    """Signs certificates and writes them to files of one folder.

    An authority made by :meth:`authority` of another is signed by that one.
    """

    def __init__(
        self, folder: Path, name: str = "root", parent: Authority | None = None
    ) -> None:
        """Make its key and certificate; ``path`` is the certificate's file."""
        self.folder = folder
        self.name = name
        self.key = ec.generate_private_key(ec.SECP256R1())
        own = _name(f"{name} authority")
        signer, by = (self.key, own) if parent is None else parent._signer
        self.certificate = _sign(signer, by, own, self.key, is_authority=True)
        self.path = folder / f"{name}.crt"
        self.path.write_bytes(_pem(self.certificate))

    def authority(self, name: str) -> Authority:
        """Return an authority that this one has signed."""
        return Authority(self.folder, name, self)

    def issue(
        self,
        name: str,
        common_name: str | None = None,
        hosts: Sequence[str] = (),
        *,
        days: int = 2,
        key: Key | None = None,
        passphrase: bytes | None = None,
        chain: Sequence[Authority] = (),
    ) -> tuple[Path, Path]:
        """Write ``name.crt`` and ``name.key``; return their paths.

        ``hosts`` go into subjectAltName, addresses as such; a negative number of
        ``days`` makes it expired; ``chain`` are further certificates in the file.
        """
        own = key or ec.generate_private_key(ec.SECP256R1())
        subject = _name(name if common_name is None else common_name)
        certificate = _sign(*self._signer, subject, own, hosts, days)
        return self.write(name, certificate, own, passphrase, chain)

    def write(
        self,
        name: str,
        certificate: x509.Certificate,
        key: Key,
        passphrase: bytes | None = None,
        chain: Sequence[Authority] = (),
    ) -> tuple[Path, Path]:
        """Write a certificate and its key."""
        paths = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        paths[0].write_bytes(
            b"".join([_pem(certificate), *(_pem(one.certificate) for one in chain)])
        )
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(passphrase)
                if passphrase
                else serialization.NoEncryption(),
            )
        )
        # PostgreSQL takes no key that others may read.
        paths[1].chmod(0o600)
        return paths

    def revoke(self, name: str, *certificates: Path) -> Path:
        """Write a revocation list ``name.crl`` with some certificates; return it."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - DAY)
            .next_update(now + 2 * DAY)
        )
        for path in certificates:
            revoked = x509.load_pem_x509_certificate(path.read_bytes())
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(revoked.serial_number)
                .revocation_date(now - DAY)
                .build()
            )
        path = self.folder / f"{name}.crl"
        signed = builder.sign(self.key, hashes.SHA256())
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return path

    @property
    def _signer(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Name]:
        return self.key, self.certificate.subject


def _sign(  # noqa: PLR0917 - the last two have defaults
    signer: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    subject: x509.Name,
    key: Key,
    hosts: Sequence[str] = (),
    days: int = 2,
    *,
    is_authority: bool = False,
) -> x509.Certificate:
    now = datetime.now(UTC)
    end = now + timedelta(days=days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - DAY)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    )
    if hosts:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(one) for one in hosts]),
            critical=False,
        )
    return builder.sign(signer, hashes.SHA256())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
