"""By which groups keys are agreed: curves, in the words of ``..._tls_ecdhcurve``.

OpenSSL takes a list of them, X25519 and the post-quantum ones among its names
(SSL_CTX_set1_groups_list).  pyOpenSSL has no method for that, only one for a single
curve that certificates may have too; so the list is set past it, through the binding
that cryptography has since 2026.  Without that binding, the single curve has to do.
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

SINGLE_CURVES: dict[str, type[ec.EllipticCurve]] = {
    "prime256v1": ec.SECP256R1,
    "secp256r1": ec.SECP256R1,
    "p-256": ec.SECP256R1,
    "secp384r1": ec.SECP384R1,
    "p-384": ec.SECP384R1,
    "secp521r1": ec.SECP521R1,
    "p-521": ec.SECP521R1,
}
"""What works with any version of the libraries."""


class GroupsError(ValueError):
    """The library knows no such groups, or cannot be told; the text says which."""


def set_groups(context: SSL.Context, names: str, binding: Any = None) -> None:  # noqa: ANN401 - cffi has no types
    """Restrict a context to groups: names with colons between, the best first.

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
            pass  # Else the next call of somebody else would find it.
        raise GroupsError("unknown curve, or not a list with colons between")


def _binding() -> Any:  # noqa: ANN401 - as above
    """Return pyOpenSSL's way into OpenSSL; raises AttributeError if it has moved."""
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
