"""Rows about clients and servers."""

from __future__ import annotations

import pytest

from tests.unit.admin.reading import Cells, shown_rows

CLIENT_ENDS = ("127.0.0.1", "56540", "127.0.0.1", "6400")
CLIENT_TIMES = ("2026-11-22 12:00:00 UTC", "2026-11-22 12:00:01 UTC")
CLIENT_TAIL = (
    *("2", "3", "0", "0x5566bb02bdc8", "0x5566bb055bf0", "0", "", "", "0", "2"),
)
SERVER_TAIL = (
    *("127.0.0.1", "6000", "127.0.0.1", "41140"),
    *("2026-11-22 12:00:00 UTC", "2026-11-22 12:00:00 UTC"),
    *("0", "0", "1", "0x5566bb055bf0", "", "24610"),
    *("TLSv1.3/TLS_AES_256_GCM_SHA384", "shop", "5", "3"),
)
LOGIN_TAIL = (
    *("unix", "6400", "unix", "6400"),
    *("2026-11-22 12:00:00 UTC", "2026-11-22 12:00:00 UTC"),
    *("0", "0", "0", "0x10", "", "0", "", "", "0", "4"),
)
CLIENT_SOCKET = (
    *("C", "postgres", "bench", "none", "cl_active"),
    *(*CLIENT_ENDS, *CLIENT_TIMES, *CLIENT_TAIL),
    *("7", "0", "0", "0", "0", "0", "0"),
)

LISTENING = ("7", "pooler", None, None, "127.0.0.1", "6400", "0", "0", *(None,) * 7)
ROWS: dict[str, list[Cells]] = {
    "clients": [
        (
            *("C", "postgres", "bench", "none", "active"),
            *(*CLIENT_ENDS, *CLIENT_TIMES, *CLIENT_TAIL),
        )
    ],
    "servers": [("S", "postgres", "bench", "none", "new", *SERVER_TAIL)],
    "sockets": [
        CLIENT_SOCKET,
        ("C", "(nouser)", "(nodb)", "none", "cl_login", *LOGIN_TAIL, *("0",) * 7),
        ("S", "postgres", "bench", "none", "sv_login", *SERVER_TAIL, *("0",) * 7),
    ],
    "active_sockets": [CLIENT_SOCKET],
    "handover": [(*LISTENING, "{}")],
    "fds": [
        LISTENING,
        (
            *("8", "client", "postgres", "bench", "unix", "0", "1", "9"),
            *("UTF8", None, None, "UTC", None, "\\x01ff", None),
        ),
    ],
}


@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str) -> None:
    """Each value stands in its column, and no row has a column too few."""
    assert shown_rows(name) == ROWS[name]
