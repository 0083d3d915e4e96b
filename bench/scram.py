"""The same poolers once more, for clients that prove themselves by SCRAM-SHA-256.

The users file holds a verifier, as PostgreSQL keeps it: nothing is made from a
password at a login.  PostgreSQL goes on trusting, and its connections are warm, so what
is measured is the client's login.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from bench.contenders import Contender
from bench.loads import Amounts, Load, connecting, measured
from bench.programs import Programs
from bench.rows import FLOOR, INTERPRETED
from bench.wire import PASSWORD
from pgswitch.wire.scram import DEFAULT_ITERATIONS, SALT_SIZE, make_verifier


def by_scram(racers: Sequence[Contender]) -> list[Contender]:
    """Return the poolers that can ask for SCRAM as they are when they do."""
    salt = os.urandom(SALT_SIZE)
    secret = str(make_verifier(PASSWORD, salt, DEFAULT_ITERATIONS))
    return [
        replace(
            racer,
            template=racer.template.replace(
                "auth_type = trust", "auth_type = scram-sha-256"
            ),
            secret=secret,
        )
        for racer in racers
        if racer.name not in {FLOOR, INTERPRETED}
    ]


def scram_loads(programs: Programs, amounts: Amounts) -> list[Load]:
    """Return the loads of these poolers."""
    return [
        measured("scram", "SCRAM login, query", connecting(programs, amounts.proofs))
    ]
