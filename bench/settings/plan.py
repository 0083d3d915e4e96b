"""The rows of a run: which settings, between whom, in which manner, beside what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from bench.settings.catalogue import (
    KINDS,
    UNFIT,
    UNFIT_PAIRS,
    VALUES,
    WAITS,
    allowed,
    kinds_for,
    named,
)
from bench.settings.manners import (
    BURSTS,
    MANNERS,
    ONE_BYTE,
    PLAIN,
    SLOW_READER,
    SLOW_SENDER,
    Manner,
)
from bench.settings.pairs import covering

PARTS = ("settings", "circumstances", "pairs", "waits")
DEFAULTS, DIRECT, NO_WAITS = "the defaults", "PostgreSQL itself", "no waiting"
"""What a row stands beside."""

NO_TLS, CLIENTS_TLS, SERVERS_TLS, BOTH_TLS = "none", "clients", "servers", "both"

SEED = 1
"""Of the pairs."""
MANY_VALUES = 3
"""Of a setting, in the rows of pairs: the first, one between, the last."""

QUICK_KINDS = ("simple", "prepared", "connect", "copy-in", "result")

BETWEEN = {NO_TLS: 3.0, CLIENTS_TLS: 3.0, SERVERS_TLS: 3.5, BOTH_TLS: 3.5}
"""How much longer than PostgreSQL itself work may take through a pooler, by the TLS.

Each message is read and written twice more; with TLS to servers it is also encrypted,
where it stands beside one that is not. What this is to find is a stall.
"""
WITH_BACKUP = frozenset(
    (
        "client_idle_timeout",
        "default_pool_size",
        "idle_transaction_timeout",
        "max_packet_size",
        "pkt_buf",
        "pool_mode",
        "sbuf_loopcnt",
        "server_idle_timeout",
        "server_lifetime",
        "server_tls_sslmode",
        "tcp_keepidle",
        "tcp_socket_buffer",
        "tcp_user_timeout",
        "verbose",
    )
)
"""Settings that long transfers may depend on; a backup takes as long as ten others."""

SIZES = ("2048", "4096", "8192", "16384", "65536", "262144", "1048576", "4194304")
"""Of socket buffers."""
SMALL_SIZE = 16384
"""Up to this size, half a buffer at a time makes processes change often."""
WAITING_KINDS = ("copy-out", "copy-in", "result", "backup")
WAITING_MANNERS = (PLAIN, SLOW_SENDER, BURSTS)
WAITING_TLS = (NO_TLS, CLIENTS_TLS, BOTH_TLS)


@dataclass(frozen=True, slots=True)
class Row:
    """A pooler with some settings, and the kinds of work that it is to do."""

    part: str
    name: str
    changes: Mapping[str, str]
    kinds: tuple[str, ...]
    tls: str = NO_TLS
    manner: Manner = PLAIN
    beside: str = DEFAULTS

    def allowed(self, kind: str) -> tuple[float, float]:
        """Return how many times the time, and the CPU, a kind of work may take."""
        if self.beside == NO_WAITS:
            return WAITS, inf
        if self.beside == DIRECT:
            return BETWEEN[self.tls], inf
        return allowed(self.changes, kind)

    @property
    def is_large(self) -> bool:
        """Whether its answers must take so long that much of them is waited for."""
        size = int(self.changes.get("tcp_socket_buffer", "0"))
        return self.beside == NO_WAITS and size > SMALL_SIZE

    @property
    def is_client_tls(self) -> bool:
        """Whether clients use TLS."""
        return self.tls in {CLIENTS_TLS, BOTH_TLS}

    @property
    def is_server_tls(self) -> bool:
        """Whether servers are asked for TLS."""
        return self.tls in {SERVERS_TLS, BOTH_TLS}


def planned(*, has_tls: bool, is_quick: bool) -> list[Row]:
    """Return all rows; those with TLS only where servers have it.

    ``is_quick``: of the values of a setting the extremes alone, of the rest a part, of
    the kinds of work one for each way through the program.
    """
    rows = [
        *_settings(is_quick=is_quick),
        *_circumstances(is_quick=is_quick),
        *_pairs(has_tls=has_tls, is_quick=is_quick),
        *_waits(is_quick=is_quick),
    ]
    if is_quick:
        rows = [_quicker(row) for row in rows]
    return [row for row in rows if has_tls or not _needs_tls(row)]


def _quicker(row: Row) -> Row:
    """Return a row with the kinds of a quick run; of waits all kinds are long."""
    if row.part == "waits" or not set(row.kinds) & set(QUICK_KINDS):
        return row
    kinds = tuple(kind for kind in row.kinds if kind in QUICK_KINDS)
    return replace(row, kinds=kinds)


def chosen(rows: Sequence[Row], words: Sequence[str]) -> list[Row]:
    """Return the rows that one of the words names: a part, or a part of their name."""
    return [
        row
        for row in rows
        if not words or any(word == row.part or word in row.name for word in words)
    ]


def _needs_tls(row: Row) -> bool:
    return row.tls != NO_TLS or any("_tls_" in name for name in row.changes)


def _settings(*, is_quick: bool) -> list[Row]:
    rows = []
    for name, values in VALUES.items():
        for value in dict.fromkeys((values[0], values[-1])) if is_quick else values:
            changes = {name: value}
            kinds = tuple(
                kind
                for kind in kinds_for(changes)
                if kind != "backup" or name in WITH_BACKUP
            )
            if value in _NO_CLIENT_TLS and name == "client_tls_sslmode":
                tls = NO_TLS
            elif name == "client_tls_protocols":
                tls = CLIENTS_TLS
            elif name.startswith("server_tls_"):
                tls = SERVERS_TLS
            else:
                tls = NO_TLS
            rows.append(Row("settings", named(name, value), changes, kinds, tls))
    return rows


_NO_CLIENT_TLS = ("disable",)


def _circumstances(*, is_quick: bool) -> list[Row]:
    """Return the defaults with TLS, and in every manner, beside PostgreSQL itself."""
    return [
        Row(
            "circumstances",
            f"{manner.name}, TLS: {tls}",
            {},
            tuple(kind for kind in KINDS if kind != "backup" or manner in _FAST),
            tls,
            manner,
            DIRECT,
        )
        for tls in ((NO_TLS, BOTH_TLS) if is_quick else BETWEEN)
        for manner in (PLAIN, SLOW_READER, ONE_BYTE, BURSTS)
    ]


_FAST = (PLAIN, ONE_BYTE)
"""Manners in which a backup takes no longer than otherwise."""


def _pairs(*, has_tls: bool, is_quick: bool) -> list[Row]:
    """Return rows in which all pairs of values, TLS and manners meet."""
    unfit = {(one.setting, value) for one in UNFIT for value in one.values}
    factors: dict[str, Sequence[str]] = {
        "TLS": tuple(BETWEEN) if has_tls else (NO_TLS,),
        "manner": tuple(one.name for one in (PLAIN, SLOW_READER, ONE_BYTE, BURSTS)),
    }
    for name, values in VALUES.items():
        fit = [value for value in values if (name, value) not in unfit]
        if "_tls_" in name or not fit:
            continue
        most = 1 if is_quick else MANY_VALUES
        few = fit if len(fit) <= most else [*fit[: most - 1], fit[-1]]
        factors[name] = ("", *few)
    escaped = _escaped(factors)
    never = [
        ((one, f"={value}"), (other, f"={another}"))
        for (one, value), (other, another) in UNFIT_PAIRS
        if f"={value}" in escaped[one] and f"={another}" in escaped[other]
    ]
    made = covering(escaped, SEED, never)
    rows = []
    for number, row in enumerate(made, start=1):
        changes = {
            name: value.removeprefix("=")
            for name, value in row.items()
            if name in VALUES and value != _DEFAULT
        }
        manner = MANNERS[row["manner"]]
        kinds = tuple(
            kind for kind in kinds_for(changes) if kind != "backup" or manner is PLAIN
        )
        name = f"pairs {number}: {manner.name}, TLS: {row['TLS']}"
        rows.append(Row("pairs", name, changes, kinds, row["TLS"], manner))
    return rows


_DEFAULT = "-"


def _escaped(factors: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the factors with a word for the default, as a value may be empty."""
    return {
        name: [_DEFAULT, *(f"={value}" for value in values[1:])]
        if name in VALUES
        else list(values)
        for name, values in factors.items()
    }


def _waits(*, is_quick: bool) -> list[Row]:
    """Return each size of buffer, beside a pooler that does not wait for much.

    A backup, which is 20 MB, is taken at once from a small buffer, and in all manners
    from a large one; with TLS some of the sizes are tried.
    """
    rows = []
    for tls in WAITING_TLS[:1] if is_quick else WAITING_TLS:
        for size in SIZES if tls == NO_TLS and not is_quick else _SOME_SIZES:
            for manner in WAITING_MANNERS:
                is_small = int(size) <= SMALL_SIZE
                has_backup = tls == NO_TLS and size in _BACKUP_SIZES
                kinds: tuple[str, ...] = WAITING_KINDS
                if not has_backup or (is_small and manner is not PLAIN):
                    kinds = WAITING_KINDS[:-1]
                name = f"buffers of {size}, {manner.name}, TLS: {tls}"
                changes = {"tcp_socket_buffer": size}
                rows.append(Row("waits", name, changes, kinds, tls, manner, NO_WAITS))
    return rows


_SOME_SIZES = (SIZES[0], SIZES[3], SIZES[-1])
_BACKUP_SIZES = (SIZES[0], SIZES[4], SIZES[-1])
