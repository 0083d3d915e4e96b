"""Checks a password by PAM; blocks, so it runs in a thread.

Needs the package pamela (``pip install 'pgswitch[pam]'``), which calls libpam. A
process that is not root can check through pam_unix only its own user's password.
"""

from __future__ import annotations


def is_available() -> bool:
    """Import the library, and libpam with it; tell whether both are installed."""
    try:
        import pamela  # noqa: F401, PLC0415 - an extra that may be missing
    except (ImportError, OSError, AttributeError):
        return False
    return True


def check(service: str, user: str, host: str, password: str) -> bool:
    """Tell whether PAM takes this password, and the account is in order.

    ``host`` is the client's address (PAM_RHOST), empty for a unix socket.
    """
    import pamela  # noqa: PLC0415 - an extra that may be missing

    if not password or "\0" in user + password:
        return False
    answer = pamela.new_simple_password_conv((_raw(password),), "utf-8")
    handle = pamela.pam_start(service, _raw(user), conv_func=answer)
    status: int = 0
    try:
        if host:
            handle.set_item(pamela.PAM_RHOST, host)
        status = pamela.PAM_AUTHENTICATE(handle, 0)
        if status == 0:
            status = pamela.PAM_ACCT_MGMT(handle, 0)
    finally:
        is_good = bool(status == 0)
        try:
            pamela.pam_end(handle, status)
        except pamela.PAMError:
            is_good = False  # It raises for the status that it is given.
    return is_good


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
