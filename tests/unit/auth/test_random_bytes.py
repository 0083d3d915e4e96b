"""Random bytes for the whole service: a small ``make fuzz``."""

from __future__ import annotations

import random
from itertools import islice

from tests.fuzz.door import SEEDS, ListenerControl, mutations

INPUTS = 400


def test_whatever_is_sent() -> None:
    """No login succeeds, nothing breaks, nothing is left behind."""
    with ListenerControl() as door:
        for seed in SEEDS:
            for first in range(4):
                door.knock(bytes((first, 0)) + seed)
                door.knock(bytes((first | 0x80, 1)) + seed)
        for data in islice(mutations(random.Random(7)), INPUTS):
            door.knock(data)
