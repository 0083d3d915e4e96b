"""The rows of a run: which settings, TLS, client behaviour, compared with what.

Some rows are a covering array: every two values of different settings meet in one of
them. Most faults need one setting or two (Kuhn, Wallace, Gallo, "Software fault
interactions", 2004), and a few dozen rows hold all pairs of some fifty settings.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
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
from bench.settings.client import (
    BEHAVIOURS,
    BURSTS,
    ONE_BYTE,
    PLAIN,
    SLOW_READER,
    SLOW_SENDER,
    ClientBehaviour,
)

PARTS = ("settings", "circumstances", "pairs", "waits")
DEFAULTS, DIRECT, NO_WAITS = "the defaults", "PostgreSQL itself", "no waiting"
"""What a row is compared with."""

NO_TLS, CLIENTS_TLS, SERVERS_TLS, BOTH_TLS = "none", "clients", "servers", "both"

SEED = 1
"""Of the pairs."""
PAIRED_VALUES = 3
"""Values of a setting in the rows of pairs: the first, one between, the last."""

QUICK_KINDS = ("simple", "prepared", "connect", "copy-in", "result")

DIRECT_RATIOS = {NO_TLS: 3.0, CLIENTS_TLS: 3.0, SERVERS_TLS: 3.5, BOTH_TLS: 3.5}
"""How much longer than directly work may take through a pooler, by the use of TLS.

Each message is read and written once more; TLS to servers is not used in the direct
connection. This is meant to find stalls.
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
"""Settings that may affect long transfers; a backup takes as long as ten others."""

SIZES = ("2048", "4096", "8192", "16384", "65536", "262144", "1048576", "4194304")
"""Sizes of socket buffers."""
SMALL_SIZE = 16384
"""With smaller buffers, waiting for half a buffer causes many context switches."""
WAITING_KINDS = ("copy-out", "copy-in", "result", "backup")
WAITING_BEHAVIOURS = (PLAIN, SLOW_SENDER, BURSTS)
WAITING_TLS = (NO_TLS, CLIENTS_TLS, BOTH_TLS)


@dataclass(frozen=True, slots=True)
class Row:
    """A pooler with some settings, and the kinds of work to do through it."""

    part: str
    name: str
    changes: Mapping[str, str]
    kinds: tuple[str, ...]
    tls: str = NO_TLS
    behaviour: ClientBehaviour = PLAIN
    beside: str = DEFAULTS

    def allowed(self, kind: str) -> tuple[float, float]:
        """Return the allowed ratios of time and of CPU for a kind of work."""
        if self.beside == NO_WAITS:
            return WAITS, inf
        if self.beside == DIRECT:
            return DIRECT_RATIOS[self.tls], inf
        return allowed(self.changes, kind)

    @property
    def is_large(self) -> bool:
        """Whether answers must be long, so that poolers wait for much of them."""
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
    """Return all rows; those with TLS only if servers support it.

    ``is_quick``: only the extremes of each setting, part of the other rows, and one
    kind of work for each path through the program.
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
    """Return a row with the kinds of a quick run, except in the part ``waits``."""
    if row.part == "waits" or not set(row.kinds) & set(QUICK_KINDS):
        return row
    kinds = tuple(kind for kind in row.kinds if kind in QUICK_KINDS)
    return replace(row, kinds=kinds)


def chosen(rows: Sequence[Row], words: Sequence[str]) -> list[Row]:
    """Return the rows whose part is one of the words, or whose name contains one."""
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
    """Return the defaults with each TLS use and behaviour, compared with PostgreSQL."""
    return [
        Row(
            "circumstances",
            f"{behaviour.name}, TLS: {tls}",
            {},
            tuple(kind for kind in KINDS if kind != "backup" or behaviour in _FAST),
            tls,
            behaviour,
            DIRECT,
        )
        for tls in ((NO_TLS, BOTH_TLS) if is_quick else DIRECT_RATIOS)
        for behaviour in (PLAIN, SLOW_READER, ONE_BYTE, BURSTS)
    ]


_FAST = (PLAIN, ONE_BYTE)
"""Behaviours that do not slow down a backup."""


def _pairs(*, has_tls: bool, is_quick: bool) -> list[Row]:
    """Return rows in which all pairs of values, TLS uses and behaviours occur."""
    unfit = {(one.setting, value) for one in UNFIT for value in one.values}
    factors: dict[str, Sequence[str]] = {
        "TLS": tuple(DIRECT_RATIOS) if has_tls else (NO_TLS,),
        "behaviour": tuple(one.name for one in (PLAIN, SLOW_READER, ONE_BYTE, BURSTS)),
    }
    for name, values in VALUES.items():
        fit = [value for value in values if (name, value) not in unfit]
        if "_tls_" in name or not fit:
            continue
        most = 1 if is_quick else PAIRED_VALUES
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
        behaviour = BEHAVIOURS[row["behaviour"]]
        kinds = tuple(
            kind
            for kind in kinds_for(changes)
            if kind != "backup" or behaviour is PLAIN
        )
        name = f"pairs {number}: {behaviour.name}, TLS: {row['TLS']}"
        rows.append(Row("pairs", name, changes, kinds, row["TLS"], behaviour))
    return rows


_DEFAULT = "-"


def _escaped(factors: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the factors with a mark for the default, as a value may be empty."""
    return {
        name: [_DEFAULT, *(f"={value}" for value in values[1:])]
        if name in VALUES
        else list(values)
        for name, values in factors.items()
    }


def _waits(*, is_quick: bool) -> list[Row]:
    """Return each size of buffer, compared with a pooler that waits for one byte.

    A backup (20 MB) is taken with the plain behaviour from a small buffer, and with all
    from a large one; with TLS only some of the sizes are tried.
    """
    rows = []
    for tls in WAITING_TLS[:1] if is_quick else WAITING_TLS:
        for size in SIZES if tls == NO_TLS and not is_quick else _SOME_SIZES:
            for behaviour in WAITING_BEHAVIOURS:
                is_small = int(size) <= SMALL_SIZE
                has_backup = tls == NO_TLS and size in _BACKUP_SIZES
                kinds: tuple[str, ...] = WAITING_KINDS
                if not has_backup or (is_small and behaviour is not PLAIN):
                    kinds = WAITING_KINDS[:-1]
                name = f"buffers of {size}, {behaviour.name}, TLS: {tls}"
                changes = {"tcp_socket_buffer": size}
                rows.append(
                    Row("waits", name, changes, kinds, tls, behaviour, NO_WAITS)
                )
    return rows


_SOME_SIZES = (SIZES[0], SIZES[3], SIZES[-1])
_BACKUP_SIZES = (SIZES[0], SIZES[4], SIZES[-1])


CANDIDATES = 4
"""Rows that are generated for each row that is taken."""

Choice = tuple[int, int]
"""A factor and one of its values, by their indexes."""


def covering(
    factors: Mapping[str, Sequence[str]],
    seed: int,
    unfit: Collection[tuple[tuple[str, str], tuple[str, str]]] = (),
) -> list[dict[str, str]]:
    """Return rows with a value for each factor such that all pairs of values occur.

    Pairs of (factor, value) in ``unfit`` do not occur; each factor must have a value
    that fits all others. The same seed gives the same rows.
    """
    names = list(factors)
    sizes = [len(factors[name]) for name in names]
    drawn = random.Random(seed)  # noqa: S311 - nothing secret
    numbers = [
        tuple(
            sorted(
                (names.index(name), factors[name].index(value)) for name, value in pair
            )
        )
        for pair in unfit
    ]
    never = {(one, other) for one, other in numbers}
    missing = _all_pairs(sizes) - never
    rows = []
    while missing:
        made = [_row(sizes, missing, never, drawn) for _ in range(CANDIDATES)]
        best = max(made, key=lambda row: len(missing & _pairs_in(row)))
        missing -= _pairs_in(best)
        rows.append(
            {name: factors[name][at] for name, at in zip(names, best, strict=True)}
        )
    return rows


def _all_pairs(sizes: Sequence[int]) -> set[tuple[Choice, Choice]]:
    return {
        ((a, one), (b, other))
        for a, b in combinations(range(len(sizes)), 2)
        for one in range(sizes[a])
        for other in range(sizes[b])
    }


def _pairs_in(row: Sequence[int]) -> set[tuple[Choice, Choice]]:
    return set(combinations(enumerate(row), 2))


def _row(
    sizes: Sequence[int],
    missing: set[tuple[Choice, Choice]],
    never: set[tuple[Choice, Choice]],
    drawn: random.Random,
) -> list[int]:
    """Return a row with a missing pair, filled so that it covers many more."""
    (first, one), (second, other) = drawn.choice(sorted(missing))
    row = {first: one, second: other}
    rest = [factor for factor in range(len(sizes)) if factor not in row]
    drawn.shuffle(rest)
    for factor in rest:
        gains = [
            _gain((factor, value), row, missing, never)
            for value in range(sizes[factor])
        ]
        most = max(gains)
        row[factor] = drawn.choice(
            [at for at, gain in enumerate(gains) if gain == most]
        )
    return [row[factor] for factor in range(len(sizes))]


def _gain(
    choice: Choice,
    row: Mapping[int, int],
    missing: set[tuple[Choice, Choice]],
    never: set[tuple[Choice, Choice]],
) -> int:
    """Return how many missing pairs a choice covers; -1 if it is unfit."""
    pairs = [(min(choice, there), max(choice, there)) for there in row.items()]
    if any(pair in never for pair in pairs):
        return -1
    return sum(pair in missing for pair in pairs)
