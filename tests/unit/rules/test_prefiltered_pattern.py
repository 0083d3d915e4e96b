"""What stands for a compiled pattern is taken for one."""

from __future__ import annotations

import copy
import re

import pytest

from pgswitch.rules.patterns import Patterns


def test_it_passes_for_a_pattern() -> None:
    """For isinstance(), for re itself, and in what it can do besides."""
    mine = Patterns().compile(".*tablea")
    assert type(mine).__name__ == "PrefilteredPattern"
    assert isinstance(mine, re.Pattern)
    assert re.compile(mine) is mine
    assert mine.sub("b", "x tablea c") == "b c"
    assert mine.pattern == ".*tablea"
    assert repr(mine) == "re.compile('.*tablea')"
    names = {name for name in dir(re.compile("")) if not name.startswith("_")}
    assert names <= set(dir(mine))
    for copied in (copy.copy(mine), copy.deepcopy(mine)):
        assert copied.search("a tablea")
    assert type(Patterns().compile("tablea.*")) is re.Pattern
    assert Patterns().compile(b".*a").search(b"ba")
    with pytest.raises(re.error):
        Patterns().compile("(")
