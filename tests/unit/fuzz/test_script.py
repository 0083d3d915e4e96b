"""Cases as JSON and as lists."""

from __future__ import annotations

import pytest

from tests.fuzz.protocol.script import (
    Case,
    Group,
    Round,
    Script,
    Step,
    from_json,
    listing,
    map_groups,
    shape,
    to_json,
)

COPY = Group((Step("Q", ("copy f0 from stdin",)), Step("d", ("1\ta\n",)), Step("c")))
GONE = Group((Step("Q", ("select 1",)), Step("!vanish")), "random 7", turn=3)
CASE = Case("tls-2", (Round(5, (Script(0, (COPY, GONE)), Script(2, (COPY,)))),))


def test_json_brings_everything_back() -> None:
    """Whatever a case holds is in its text."""
    assert from_json(to_json(CASE)) == CASE


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"variant": "x", "rounds": [{}]}'])
def test_other_texts_are_refused(text: str) -> None:
    """A file that is no report is an error of its user."""
    with pytest.raises((ValueError, KeyError, TypeError)):
        from_json(text)


def test_listing_goes_up_to_a_group() -> None:
    """What followed a finding does not matter."""
    first, *rest = listing(CASE.rounds[0].scripts[0], 0)
    assert first == "client 0, group 0, cut: one"
    assert [line.split()[:2] for line in rest] == [
        ["Q", "Query"],
        ["d", "CopyData"],
        ["c", "CopyDone"],
    ]
    everything = listing(CASE.rounds[0].scripts[0])
    assert "client 0, group 1, turn 3, cut: random 7" in everything
    assert everything[-1].strip() == "!vanish the client's socket is closed"


def test_sizes_and_faults() -> None:
    """Counted over all; trouble is known by its kinds."""
    assert CASE.size == 8
    assert CASE.rounds[0].faults == {"!vanish"}
    assert CASE.rounds[0].scripts[1].faults == set()


def test_complete_groups() -> None:
    """Those whose answers end by themselves."""
    assert COPY.is_complete
    assert GONE.is_complete
    assert Group((Step("!reload"),)).is_complete
    parse, query = Step("P", ("", "select 1")), COPY.steps[0]
    assert not Group((parse,)).is_complete
    assert not Group((parse, query, Step("S"))).is_complete
    assert not Group((query, parse)).is_complete
    assert Group((parse, Step("S"), query)).is_complete


def test_shape() -> None:
    """Kinds of steps tell findings apart."""
    assert shape(CASE, 0) == "Q d c | Q !vanish"
    assert shape(CASE, 2) == "Q d c"
    assert shape(CASE, 7) == ""


def test_groups_can_be_changed() -> None:
    """Each with its script and number."""
    seen = []

    def change(script: Script, number: int, group: Group) -> Group:
        seen.append((script.client, number))
        return group._replace(cuts="bytes")

    changed = map_groups(CASE.rounds[0], change)
    assert seen == [(0, 0), (0, 1), (2, 0)]
    assert {group.cuts for one in changed.scripts for group in one.groups} == {"bytes"}
