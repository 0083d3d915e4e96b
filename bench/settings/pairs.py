"""Rows in which every two values of different settings meet: a covering array.

Faults that need two settings at once are the usual ones beside those that need one
(Kuhn, Wallace, Gallo, "Software fault interactions", 2004), and some dozens of rows
hold all pairs of some fifty settings.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

CANDIDATES = 4
"""Rows that are made up before the best of them is taken."""

Choice = tuple[int, int]
"""A factor and one of its values, by their numbers."""


def covering(
    factors: Mapping[str, Sequence[str]],
    seed: int,
    unfit: Collection[tuple[tuple[str, str], tuple[str, str]]] = (),
) -> list[dict[str, str]]:
    """Return rows with a value for each factor; all pairs of values are in some row.

    Those that are ``unfit``, each two of (factor, value), are in none; each factor must
    have a value that fits all others. The same seed makes the same rows.
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
        best = max(made, key=lambda row: len(missing & _pairs(row)))
        missing -= _pairs(best)
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


def _pairs(row: Sequence[int]) -> set[tuple[Choice, Choice]]:
    return set(combinations(enumerate(row), 2))


def _row(
    sizes: Sequence[int],
    missing: set[tuple[Choice, Choice]],
    never: set[tuple[Choice, Choice]],
    drawn: random.Random,
) -> list[int]:
    """Return a row that begins with a missing pair and adds what is missing most."""
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
    """Return how many missing pairs a choice adds to a row; -1 if it does not fit."""
    pairs = [(min(choice, there), max(choice, there)) for there in row.items()]
    if any(pair in never for pair in pairs):
        return -1
    return sum(pair in missing for pair in pairs)
