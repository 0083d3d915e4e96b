"""Rewrite, then route; failures by policy; answers that are kept."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from pgswitch.rules.evaluate import RuleInput, RuleResult, RuleSet, split_key
from pgswitch.rules.loader import REWRITING, ROUTING
from tests.unit.rules.files import Ticking, answer, rule, rule_set


def test_routing_sees_the_new_text(tmp_path: Path) -> None:
    """The order of the two is part of the contract."""
    rules = rule_set(
        tmp_path,
        "return query.replace('old', 'new')",
        "return 'there' if 'new' in query else None",
    )
    found = answer(rules, "SELECT old")
    assert (found.text, found.data, found.key) == ("SELECT new", b"SELECT new", "there")
    found = answer(rules, "SELECT 1")
    assert (found.text, found.data, found.key) == (None, None, None)


@pytest.mark.parametrize("body", ["1 / 0", "raise SystemExit", "return 3", "return ''"])
def test_failures(tmp_path: Path, body: str) -> None:
    """By policy the original goes on, and is routed, or the query is not sent."""
    rewriting = rule(tmp_path, body)
    routing = rule(tmp_path, "return 'there'", ROUTING)
    found = answer(RuleSet(rewriting, routing))
    assert (found.data, found.key, found.refused) == (None, "there", False)
    assert len(found.failures) == 1
    found = answer(RuleSet(rewriting, routing, refuses=True))
    assert (found.data, found.key, found.refused) == (None, None, True)
    assert rewriting.stats.errors == 2
    assert rewriting.stats.refused == 1


HOSTILE = """
class Text(str):
    def fail(self, *_):
        raise SystemExit
    __str__ = __len__ = __eq__ = __contains__ = __bool__ = __getitem__ = fail
    encode = partition = rpartition = __format__ = __repr__ = fail
    __hash__ = str.__hash__
class Mute(Exception):
    def __str__(self):
        raise ValueError
    __repr__ = __str__
    __traceback__ = property(__str__)
class Odd:
    def __getattr__(self, name):
        raise SystemExit
class Type(type):
    __name__ = property(lambda self: 1 / 0)
class Strange(metaclass=Type):
    pass
"""


@pytest.fixture
def _serving() -> Iterator[None]:
    """Handle SIGINT as the service does: no KeyboardInterrupt is real."""
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_serving")
@pytest.mark.parametrize(
    "body",
    [
        *("raise KeyboardInterrupt", "raise GeneratorExit", "raise SystemExit(3)"),
        *("raise Mute", "raise BaseException('x' * 10_000_000)", "raise StopIteration"),
        *("return True", "return b'x'", "return 0", "return Odd()"),
        *("return Strange()", "return Text()", "return Text('\\0')"),
    ],
)
@pytest.mark.parametrize("name", [REWRITING, ROUTING])
def test_whatever_functions_do(tmp_path: Path, body: str, name: str) -> None:
    """It is a failure like any other, in few words."""
    if name == ROUTING and "Text" in body:
        return
    function = rule(tmp_path, body, name, before=HOSTILE)
    is_rewriting = name == REWRITING
    rules = RuleSet(
        function if is_rewriting else None,
        None if is_rewriting else function,
        refuses=True,
    )
    found = answer(rules)
    assert (found.data, found.key) == (None, None)
    assert len(found.failures) == 1
    assert len(found.failures[0]) < 1000
    assert found.refused == is_rewriting
    assert function.stats.errors == 1


def test_texts_of_other_classes(tmp_path: Path) -> None:
    """Their text counts, whatever their methods do."""
    rewriting = rule(tmp_path, "return Text('SELECT 2')", before=HOSTILE)
    routing = rule(tmp_path, "return Text('there')", ROUTING, before=HOSTILE)
    found = answer(RuleSet(rewriting, routing))
    assert (found.data, found.key, found.failures) == (b"SELECT 2", "there", ())
    assert type(found.key) is type(found.text) is str


def test_a_key_without_end(tmp_path: Path) -> None:
    """It would fill the log."""
    found = answer(RuleSet(None, rule(tmp_path, "return 'x' * 10_000_000", ROUTING)))
    assert found.key is None
    assert found.failures[0].startswith(
        "routing_rules failed: returned a key of 10000000 characters"
    )


def test_ctrl_c_in_a_command(tmp_path: Path) -> None:
    """With Python's own handler it may be the user's, and ends what goes on."""
    with pytest.raises(KeyboardInterrupt):
        answer(RuleSet(rule(tmp_path, "raise KeyboardInterrupt"), None))


def test_a_routing_that_fails(tmp_path: Path) -> None:
    """The client stays, whatever the policy for rewriting."""
    rules = RuleSet(None, rule(tmp_path, "1 / 0", ROUTING), refuses=True)
    found = answer(rules)
    assert (found.key, found.refused, len(found.failures)) == (None, False, 1)


def test_what_is_waited_for(tmp_path: Path) -> None:
    """The caller gets it, and sends in the result or what it failed with."""
    rules = rule_set(tmp_path, "return Later()", "return 'there'")
    assert rules.rewriting is not None
    later = type("Later", (), {"__await__": None})
    rules.rewriting.module.module.__dict__["Later"] = later
    rule_input = RuleInput("joe", "SELECT 1", in_transaction=False)

    def begun() -> RuleResult:
        found = rules.begin(rule_input)
        assert isinstance(found.awaited, later)
        return found

    found = begun()
    rules.resume("SELECT 2", rule_input, found)
    assert (found.text, found.key, found.awaited) == ("SELECT 2", "there", None)
    found = begun()
    rules.resume_failed(ValueError("late"), rule_input, found)
    assert found.failures[0].startswith("rewrite_query failed: ValueError")
    assert (found.key, found.awaited) == ("there", None)


def test_both_may_be_waited_for(tmp_path: Path) -> None:
    """One after the other."""
    rules = rule_set(tmp_path, "return Later()", "return Later()")
    later = type("Later", (), {"__await__": None})
    for made in rules.rules:
        made.module.module.__dict__["Later"] = later
    rule_input = RuleInput("joe", "SELECT 1", in_transaction=False)
    found = rules.begin(rule_input)
    first = found.awaited
    rules.resume("SELECT 2", rule_input, found)
    assert isinstance(found.awaited, later)
    assert found.awaited is not first
    rules.resume("there", rule_input, found)
    assert (found.text, found.key, found.awaited) == ("SELECT 2", "there", None)


@pytest.mark.parametrize(("limit", "count"), [(0, 0), (100, 0), (99, 1)])
def test_slow_calls(tmp_path: Path, limit: int, count: int) -> None:
    """They are named when they take longer than the limit."""
    rewriting = rule(tmp_path, "clock.now += 0.0001")
    rewriting.module.module.__dict__["clock"] = rewriting.clock
    found = answer(RuleSet(rewriting, None, slow_us=limit))
    assert len(found.slow) == count


def kept_set(folder: Path, *, cacheable: bool) -> RuleSet:
    """Return rules whose module says whether answers may be kept."""
    made = rule(folder, "return query + ' '")
    made.cacheable = cacheable
    return RuleSet(made, None, max_cached=2)


def test_kept_answers(tmp_path: Path) -> None:
    """By user, encoding and text; the least recently used goes first."""
    rules = kept_set(tmp_path, cacheable=True)
    found = answer(rules)
    for text in (b"a", b"b"):
        rules.cache("joe", "utf-8", text, found)
    assert rules.cached("joe", "utf-8", b"a") is found
    rules.cache("joe", "utf-8", b"c", found)
    assert rules.cached("joe", "utf-8", b"b") is None
    assert rules.cached("joe", "utf-8", b"a") is found
    assert rules.cached("ann", "utf-8", b"a") is None
    assert rules.cached("joe", "latin1", b"a") is None
    assert rules.rules[0].stats.cache_hits == 2


def test_what_is_not_kept(tmp_path: Path) -> None:
    """Unless the module asks for it, when it failed, when it is long."""
    rules = kept_set(tmp_path, cacheable=False)
    found = answer(rules)
    rules.cache("joe", "utf-8", b"a", found)
    assert rules.cached("joe", "utf-8", b"a") is None
    rules = kept_set(tmp_path, cacheable=True)
    rules.cache("joe", "utf-8", b"a" * 10_000, found)
    assert rules.cached("joe", "utf-8", b"a" * 10_000) is None
    found.failures = ("odd",)
    rules.cache("joe", "utf-8", b"a", found)
    assert rules.cached("joe", "utf-8", b"a") is None


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("dev.1", ("dev.1", "")),
        ("dev:reader", ("dev", "reader")),
        ("dev:writer", ("dev", "writer")),
        ("dev:other", ("dev:other", "")),
        (":reader", (":reader", "")),
        ("a:b:reader", ("a:b", "reader")),
    ],
)
def test_roles(key: str, parts: tuple[str, str]) -> None:
    """A role after a colon is not part of the name."""
    assert split_key(key) == parts


def test_each_is_timed(tmp_path: Path) -> None:
    """By what it takes itself, however long its answer is waited for."""
    rules = rule_set(tmp_path, "clock.now += 1\nreturn later", "clock.now += 2")
    clock = Ticking()
    rule_input = RuleInput("joe", "SELECT 1", in_transaction=False)
    answers: list[object] = [None, "SELECT 2", Deferred()]
    for later in answers:
        for one in rules.rules:
            one.clock = clock
            one.last_us = 0
            vars(one.module.module).update(clock=clock, later=later)
        found = rules.begin(rule_input)
        if found.awaited is not None:
            clock.now += 100
            rules.resume(None, rule_input, found)
        assert [one.last_us for one in rules.rules] == [1_000_000, 2_000_000]
