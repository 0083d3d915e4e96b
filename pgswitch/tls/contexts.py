"""OpenSSL contexts from options: what we present, accept and request, on both sides.

Only the protocol's name in ALPN is specific to PostgreSQL (manual, "SSL Session
Encryption").  All contexts have in common:

* no renegotiation, no compression, no session tickets: a pooler does not need them,
  and each has been exploited;
* OpenSSL frees its buffers while a connection is idle;
* revocation lists in the CA file apply to the whole chain.

The contexts are not those of ``twisted.internet.ssl.CertificateOptions``.  That can say
the key, the authorities, optional client certificates, and the lowest and highest
version.  It has no way to leave out a version between them, to choose key exchange
groups or TLS 1.3 cipher suites, to check revocation lists, to turn off renegotiation
and tickets, to refuse a peer whose ALPN names other protocols only, or to learn why a
certificate was rejected; and it hands pyOpenSSL the deprecated X509 objects.  The
interfaces are Twisted's: see the connection creators in endpoints.py and
net/tls_negotiation.py.

:class:`TlsOptions` is the TLS settings of one side as one value.  Equal values make
equal contexts, so contexts are stored under them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from OpenSSL.crypto import X509StoreFlags

from pgswitch.config.units import TLS_PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from OpenSSL.crypto import X509

    from pgswitch.config.model import DatabaseSpec, Settings

DISABLE = "disable"
REQUIRING = ("require", "verify-ca", "verify-full")
"""Modes that refuse a connection without TLS."""
VERIFYING = ("verify-ca", "verify-full")
VERSIONS = ("tlsv1.0", "tlsv1.1", "tlsv1.2", "tlsv1.3")
"""From the oldest to the newest."""

_GROUPS = {
    "tlsv1": VERSIONS,
    "all": VERSIONS,
    "secure": VERSIONS[2:],
    "default": VERSIONS[2:],
}
_DEFAULT_CIPHERS = ("default", "secure", "normal", "fast")
"""Words for the library's own default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """The settings of one side, ``client_tls_`` or ``server_tls_``.

    See the settings ``sslnegotiation`` and ``..._protocols`` for ``is_direct`` and
    ``protocols``; a file that is not set is empty.
    """

    mode: str
    key_file: str = ""
    cert_file: str = ""
    ca_file: str = ""
    protocols: tuple[str, ...] = ("secure",)
    ciphers: str = "default"
    tls13_ciphers: str | None = None
    ecdhcurve: str = "auto"
    dheparams: str = "auto"
    is_direct: bool = False

    @property
    def is_required(self) -> bool:
        """Whether a connection without TLS is refused."""
        return self.mode in REQUIRING

    @property
    def verifies(self) -> bool:
        """Whether the peer must present a certificate of our authorities."""
        return self.mode in VERIFYING

    @property
    def asks_clients(self) -> bool:
        """Whether we request client certificates, and verify them."""
        return self.mode != DISABLE and (self.verifies or bool(self.ca_file))

    @property
    def cipher_list(self) -> str | None:
        """The cipher list for OpenSSL, up to TLS 1.2; None for its own."""
        is_default = not self.ciphers or self.ciphers.lower() in _DEFAULT_CIPHERS
        return None if is_default else self.ciphers


def for_clients(settings: Settings) -> TlsOptions:
    """Return the options of connections from clients."""
    return TlsOptions(
        mode=settings.client_tls_sslmode,
        key_file=settings.client_tls_key_file,
        cert_file=settings.client_tls_cert_file,
        ca_file=settings.client_tls_ca_file,
        protocols=tuple(settings.client_tls_protocols),
        ciphers=settings.client_tls_ciphers,
        tls13_ciphers=settings.client_tls13_ciphers,
        ecdhcurve=settings.client_tls_ecdhcurve,
        dheparams=settings.client_tls_dheparams,
    )


def for_servers(settings: Settings, spec: DatabaseSpec | None = None) -> TlsOptions:
    """Return the options for servers: a database's own keys, else the settings."""

    def value(name: str) -> str:
        own: str | None = None if spec is None else getattr(spec, name)
        of_all: str = getattr(settings, name)
        return of_all if own is None else own

    return TlsOptions(
        mode=value("server_tls_sslmode"),
        key_file=value("server_tls_key_file"),
        cert_file=value("server_tls_cert_file"),
        ca_file=value("server_tls_ca_file"),
        protocols=tuple(value("server_tls_protocols")),
        ciphers=value("server_tls_ciphers"),
        tls13_ciphers=value("server_tls13_ciphers"),
        ecdhcurve=value("server_tls_ecdhcurve"),
        is_direct=spec is not None and spec.sslnegotiation == "direct",
    )


def versions_in(words: Iterable[str]) -> tuple[str, ...]:
    """Return the VERSIONS that a list such as ``all,!tlsv1.0`` leaves, oldest first.

    A word adds versions, one after ``!`` removes them; a list whose first word removes
    starts with all versions.
    """
    chosen: set[str] = set()
    for word in words:
        name = word.lower().removeprefix("!")
        group = _GROUPS.get(name, (name,) if name in TLS_PROTOCOLS else ())
        if word.startswith("!"):
            chosen = (chosen or set(VERSIONS)) - set(group)
        else:
            chosen |= set(group)
    return tuple(version for version in VERSIONS if version in chosen)


ALPN = b"postgresql"
_PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)

_VERSION_NUMBERS = dict(
    zip(
        VERSIONS,
        (
            SSL.TLS1_VERSION,
            SSL.TLS1_1_VERSION,
            SSL.TLS1_2_VERSION,
            SSL.TLS1_3_VERSION,
        ),
        strict=True,
    )
)
_LEFT_OUT = dict(
    zip(
        VERSIONS,
        (SSL.OP_NO_TLSv1, SSL.OP_NO_TLSv1_1, SSL.OP_NO_TLSv1_2, SSL.OP_NO_TLSv1_3),
        strict=True,
    )
)
_REVOCATION_LIST = b"-----BEGIN X509 CRL-----"

SINGLE_CURVES: dict[str, type[ec.EllipticCurve]] = {
    "prime256v1": ec.SECP256R1,
    "secp256r1": ec.SECP256R1,
    "p-256": ec.SECP256R1,
    "secp384r1": ec.SECP384R1,
    "p-384": ec.SECP384R1,
    "secp521r1": ec.SECP521R1,
    "p-521": ec.SECP521R1,
}
"""The curves that every version of the libraries supports."""

VERIFY_ERRORS = {
    3: "no revocation list of its authority",
    9: "certificate is not yet valid",
    10: "certificate has expired",
    12: "revocation list has expired",
    18: "self-signed certificate",
    19: "self-signed certificate in certificate chain",
    20: "unable to get local issuer certificate",
    21: "unable to verify the first certificate",
    23: "certificate revoked",
    24: "invalid CA certificate",
    26: "unsuitable certificate purpose",
    79: "invalid CA certificate",
}
"""Texts for the numbers of x509_vfy.h that an operator is likely to meet."""


class TlsSetupError(Exception):
    """No context can be made of the settings or their files; the text says why."""


class GroupsError(ValueError):
    """The library does not support the groups, or the choice; the text says which."""


def context_for_clients(options: TlsOptions) -> SSL.Context:
    """Return the context of connections from clients.

    Raises TlsSetupError.
    """
    prefix = "client_tls_"
    if not (options.key_file and options.cert_file):
        _refuse(f"{prefix}sslmode needs {prefix}key_file and {prefix}cert_file")
    if options.mode == "verify-full" and not options.ca_file:
        _refuse(f"{prefix}sslmode=verify-full needs {prefix}ca_file")
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    _set_common(context, options, prefix)
    _set_key(context, options, prefix)
    _set_key_exchange(context, options, prefix)
    context.set_alpn_select_callback(_select_protocol)
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    if options.asks_clients:
        # Below verify-ca a certificate is optional, but must be valid if presented.
        _set_authorities(context, options, prefix)
        must = SSL.VERIFY_FAIL_IF_NO_PEER_CERT if options.verifies else 0
        context.set_verify(SSL.VERIFY_PEER | must, _note_verify_error)
    if options.ca_file:
        context.load_client_ca(options.ca_file.encode())
    return context


def context_for_servers(options: TlsOptions) -> SSL.Context:
    """Return the context of connections to servers.

    Raises TlsSetupError.
    """
    prefix = "server_tls_"
    if options.is_direct and not options.is_required:
        _refuse(
            "sslnegotiation=direct needs server_tls_sslmode=require, verify-ca or"
            " verify-full"
        )
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    _set_common(context, options, prefix)
    if bool(options.key_file) != bool(options.cert_file):
        _refuse(f"{prefix}key_file and {prefix}cert_file belong together")
    if options.key_file:
        _set_key(context, options, prefix)
    _set_key_exchange(context, options, prefix)
    context.set_alpn_protos([ALPN])
    if options.verifies:
        _set_authorities(context, options, prefix)
        context.set_verify(SSL.VERIFY_PEER, _note_verify_error)
    return context


def verify_error(connection: SSL.Connection) -> str:
    """Return why the peer's certificate was rejected; empty if it was not."""
    noted = connection.get_app_data()
    return noted if isinstance(noted, str) else ""


def _set_common(context: SSL.Context, options: TlsOptions, prefix: str) -> None:
    versions = versions_in(options.protocols)
    if not versions:
        _refuse(f"{prefix}protocols leaves no version of TLS")
    context.set_min_proto_version(_VERSION_NUMBERS[versions[0]])
    context.set_max_proto_version(_VERSION_NUMBERS[versions[-1]])
    for version in VERSIONS:
        if version not in versions:
            context.set_options(_LEFT_OUT[version])
    context.set_options(
        SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET
    )
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    if options.cipher_list is not None:
        _try(
            f"{prefix}ciphers={options.ciphers}",
            lambda: context.set_cipher_list(options.ciphers.encode()),
        )
    if options.tls13_ciphers:
        suites = options.tls13_ciphers.encode()
        _try(
            "failed to set the TLSv1.3 cipher suites"
            f" {prefix.removesuffix('_')}13_ciphers={options.tls13_ciphers}",
            lambda: context.set_tls13_ciphersuites(suites),
        )


def _set_key(context: SSL.Context, options: TlsOptions, prefix: str) -> None:
    name, path = f"{prefix}cert_file", options.cert_file
    _readable(name, path)
    _try(f"{name}={path}", lambda: context.use_certificate_chain_file(path))
    key = _key(f"{prefix}key_file", options.key_file)
    what = f"{prefix}key_file={options.key_file} does not fit {prefix}cert_file"
    _try(what, lambda: context.use_privatekey(key))
    _try(what, context.check_privatekey)


def _key(name: str, path: str) -> _PrivateKey:
    """Read a private key; OpenSSL itself would prompt for a passphrase."""
    try:
        key = load_pem_private_key(_readable(name, path), password=None)
    except TypeError:
        _refuse(f"{name}={path} is protected by a passphrase")
    except (ValueError, UnsupportedAlgorithm):
        _refuse(f"{name}={path} is no private key in PEM form")
    if not isinstance(key, _PrivateKey):
        _refuse(f"{name}={path} is a key of a kind that TLS certificates do not have")
    return key


def _set_authorities(context: SSL.Context, options: TlsOptions, prefix: str) -> None:
    path = options.ca_file
    if not path:
        context.set_default_verify_paths()
        return
    content = _readable(f"{prefix}ca_file", path)
    _try(f"{prefix}ca_file={path}", lambda: context.load_verify_locations(path))
    store = context.get_cert_store()
    if store is not None and _REVOCATION_LIST in content:
        store.set_flags(X509StoreFlags.CRL_CHECK | X509StoreFlags.CRL_CHECK_ALL)


def _set_key_exchange(context: SSL.Context, options: TlsOptions, prefix: str) -> None:
    """Restrict the key exchange; TLS 1.3 always needs curves or groups."""
    without = []
    curve = options.ecdhcurve
    if curve.lower() == "none":
        without.append("!kECDHE")
    elif curve.lower() not in ("", "auto"):
        try:
            set_groups(context, curve)
        except GroupsError as error:
            _refuse(f"{prefix}ecdhcurve={curve}: {error}")
    if options.dheparams == "none":
        without.append("!kDHE")
    if without:
        ciphers = ":".join((options.cipher_list or "DEFAULT", *without))
        _try(
            f"{prefix}ciphers={options.ciphers} leaves no key exchange",
            lambda: context.set_cipher_list(ciphers.encode()),
        )


def set_groups(context: SSL.Context, names: str, binding: Any = None) -> None:  # noqa: ANN401 - cffi has no types
    """Restrict a context to groups: names separated by colons, the best first.

    OpenSSL takes a list, with X25519 and the post-quantum groups among its names
    (SSL_CTX_set1_groups_list).  pyOpenSSL only has a method for one curve that
    certificates may use too, so this goes through the binding that cryptography has
    since 2026; without that, only a single curve works.

    ``binding`` is cryptography's OpenSSL; by default that of pyOpenSSL.  Raises
    GroupsError.
    """
    try:
        library = binding or _binding()
        set_list, next_error = library.SSL_CTX_set1_curves_list, library.ERR_get_error
        inner = context._context  # noqa: SLF001 - see above
    except AttributeError:
        _set_single(context, names)
        return
    if set_list(inner, names.encode()) != 1:
        while next_error():
            pass  # Otherwise the next call, for any connection, would find it.
        raise GroupsError("unknown curve, or not a list with colons between")


def _binding() -> Any:  # noqa: ANN401 - as above
    """Return pyOpenSSL's OpenSSL binding; raises AttributeError if it has moved."""
    try:
        from OpenSSL._util import lib  # noqa: PLC0415 - an inner name, may be missing
    except ImportError:
        raise AttributeError from None
    return lib


def _set_single(context: SSL.Context, name: str) -> None:
    curve = SINGLE_CURVES.get(name.lower())
    if curve is None:
        known = ", ".join(SINGLE_CURVES)
        raise GroupsError(f"this version of cryptography can do only one of {known}")
    context.set_tmp_ecdh(curve())


def _readable(name: str, path: str) -> bytes:
    """Return a file's content; OpenSSL does not say why it cannot read one."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        _refuse(f"could not read {name}={path}: {error.strerror}")


def _try(what: str, action: Callable[[], object]) -> None:
    try:
        action()
    except SSL.Error as error:
        _refuse(f"{what}: {reason_of(error)}")


def reason_of(error: SSL.Error) -> str:
    """Return OpenSSL's own text for an error."""
    noted = error.args[0] if error.args else ()
    if isinstance(noted, list):
        return ", ".join(reason for _library, _function, reason in noted) or "unknown"
    return ": ".join(str(part) for part in error.args[1:]) or "unknown"


def _select_protocol(connection: SSL.Connection, offered: list[bytes]) -> bytes:
    """Choose PostgreSQL's protocol; refuse a client that offers only others.

    An exception here is an alert, no_application_protocol (RFC 7301, section 3.2).
    """
    del connection
    if ALPN in offered:
        return ALPN
    raise SSL.Error([("ALPN", "", "no application protocol")])


def _note_verify_error(
    connection: SSL.Connection, _certificate: X509, number: int, _depth: int, ok: int
) -> bool:
    if not ok:
        connection.set_app_data(
            VERIFY_ERRORS.get(number, f"certificate verification error {number}")
        )
    return bool(ok)


def _refuse(text: str) -> NoReturn:
    raise TlsSetupError(text)
