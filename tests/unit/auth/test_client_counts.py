"""How long a name may be; test_login_service.py has the limits of clients."""

from __future__ import annotations

import pytest

from pgswitch.auth.client_counts import check_name
from pgswitch.errors import UsernameTooLong


def test_a_name_is_counted_in_bytes() -> None:
    """127 of them are the most."""
    check_name("u" * 127)
    for name in ("u" * 128, "\u00fc" * 64):
        with pytest.raises(UsernameTooLong):
            check_name(name)
