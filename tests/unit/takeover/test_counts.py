"""What was counted goes on in another process."""

from __future__ import annotations

import json

from pgswitch.admin.incremental import run_all
from pgswitch.admin.statements import named_rows
from pgswitch.admin.view import ServiceView
from pgswitch.takeover.serialize import Packed, pack_counts, unpack_counts
from tests.fakes.messages import ANSWER, READY, error, query
from tests.fakes.world import World, WorldOf


def handed_over(old: World, new: World) -> None:
    """Give one process's counts to the other."""
    service = old.service
    packed = pack_counts(service.context, service.pools, service.statistics)
    on_accept: Packed = json.loads(json.dumps(packed))
    service = new.service
    unpack_counts(on_accept, service.context, service.pools, service.statistics)


def averages(view: ServiceView) -> dict[str, int]:
    """Return the averages of all databases together."""
    rows = named_rows("totals", view)
    return {row.name: row.value for row in rows if row.name.startswith("avg_")}


def test_all_that_is_shown(world_of: WorldOf) -> None:
    """Totals, errors of pgswitch and of servers, percentiles; averages start over."""
    old, new = world_of(), world_of()
    old.client("nowhere")
    client, server = old.asking()
    old.wait(2)
    server.say(ANSWER)
    client.say(query())
    server.say(error("relation does not exist", "42P01") + READY)
    old.console().say(query("SHOW VERSION"))
    handed_over(old, new)
    before, after = old.service.view, new.service.view
    for name in ("stats_totals", "errors", "stats_percentiles"):
        assert named_rows(name, after) == named_rows(name, before)
    assert named_rows("stats_percentiles", after)[0].query_p99 > 1_900_000
    new.wait(1)
    assert averages(after)["avg_query_count"] == 0
    client, server = new.asking()
    server.say(error("relation does not exist", "42P01") + READY)
    assert [one.count for one in named_rows("errors", after)] == [2, 1]


def test_what_was_timed_is_forgotten_in_time(world_of: WorldOf) -> None:
    """After two periods it is as old as any of pgswitch's own numbers would be."""
    old, new = world_of(), world_of()
    client, server = old.asking()
    server.say(ANSWER)
    old.wait(1)
    handed_over(old, new)
    view = new.service.view
    seen = []
    for _ in range(3):
        seen += [row.database for row in named_rows("stats_percentiles", view)]
        run_all(view.statistics.gather_period(new.context.clock()))
    assert seen == ["db"] * 3
    ((name, *times),) = named_rows("stats_percentiles", view)
    assert (name, set(times)) == ("db", {0})
    assert client.hear()


def test_a_database_that_is_gone(world_of: WorldOf) -> None:
    """Its counts are dropped, as those of an older process that says less."""
    old, new = world_of(), world_of(databases="other = host=10.0.0.1")
    _client, server = old.asking()
    server.say(ANSWER)
    handed_over(old, new)
    assert [row.database for row in named_rows("stats", new.service.view)] == [
        "pgbouncer"
    ]
    view = new.service.view
    unpack_counts({}, new.context, new.service.pools, view.statistics)
    assert named_rows("errors", view) == []
