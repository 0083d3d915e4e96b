"""The module ``re`` for files of rules: the same answers, without long searches."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch.rules.loader import Library
from pgswitch.rules.patterns import ANYTHING, Patterns, needed_text
from pgswitch.rules.prefiltered_pattern import PrefilteredPattern
from tests.unit.rules.files import write

ATOMS = st.sampled_from(
    ["a", "b", "ab", " ", ".", r"\b", r"\.", r"\s", "^", "$", r"\w"]
)
REPEATS = st.sampled_from(["", "", "*", "+", "?", "{0}", "{2}", "{0,1}", "*?"])
SIMPLE = st.lists(st.tuples(ATOMS, REPEATS).map("".join), max_size=6).map("".join)
PATTERNS = SIMPLE | st.sampled_from(["(a)b", "a|b.", "[ab]b", "(?i).AB", ".x{y", "a{}"])
TEXTS = st.text("abAB .\n", max_size=12)


def compiles(pattern: str) -> bool:
    """Tell whether Python takes a pattern: not a repeated ``^``, for one."""
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


@given(PATTERNS.filter(compiles), TEXTS, st.integers(0, 3))
def test_the_same_as_re(pattern: str, text: str, begin: int) -> None:
    """Whatever the pattern and the text, by function and by method."""
    mine = Patterns()
    for name in ("search", "match", "fullmatch"):
        expected = getattr(re, name)(pattern, text)
        assert str(getattr(mine, name)(pattern, text)) == str(expected)
        expected = getattr(re.compile(pattern), name)(text, begin)
        assert str(getattr(mine.compile(pattern), name)(text, begin)) == str(expected)
        expected = getattr(re, name)(pattern, text, re.IGNORECASE)
        assert str(getattr(mine, name)(pattern, text, re.IGNORECASE)) == str(expected)


@pytest.mark.parametrize(
    ("pattern", "needed"),
    [
        (".*tablea.*", "tablea"),
        (r"\btablea\b", "tablea"),
        (r".*a\.b", "a.b"),
        (".*ab+cde?", "cd"),
        (".*abc{0}", "ab"),
        (r"^\s*select ", "select "),
        ("from.*table", "table"),
        (".*", ""),
        ("", ""),
        (".*(tablea)", ""),
        (".*tablea|.*tableb", ""),
        (".*[ab]table", ""),
        (".*x{y", ""),
        (r".*\x41", ""),
    ],
)
def test_needed_texts(pattern: str, needed: str) -> None:
    """Only what is sure to be in every match."""
    assert needed_text(pattern) == needed


def test_a_search_that_would_take_hours() -> None:
    """It takes no time worth speaking of."""
    text = "x" * 16_000_000
    assert Patterns().search(".*tablea.*", text) is None
    assert Patterns().compile(r"\s*tablea").fullmatch(text) is None


@pytest.mark.parametrize("pattern", ANYTHING)
def test_what_is_found_again(pattern: str) -> None:
    """The same find for the same name, and none of another's."""
    mine = Patterns().compile(pattern)
    there = re.compile(pattern)
    for text in ("joe", "joe", "ann", "", "\n", "joe", "x" * 100, "ann"):
        for begin in (0, 1):
            assert str(mine.search(text, begin)) == str(there.search(text, begin))
    assert mine.search("ann") is mine.search("ann")
    assert str(mine.search("ann", 0, 2)) == str(there.search("ann", 0, 2))
    assert str(mine.search("ann")) == str(there.search("ann"))


def test_how_many_are_known() -> None:
    """Not more and more of them."""
    mine = Patterns(max_known=2)
    first = mine.compile(".a")
    assert mine.compile(".a") is first
    for number in range(5):
        mine.compile(f".{number}")
        assert len(mine._known) <= 2
    assert mine.compile(".a") is not first


def test_in_a_file_of_rules(tmp_path: Path) -> None:
    """Each way to import it, with all else that is in ``re``."""
    path = write(
        tmp_path,
        "main.py",
        """
        import re
        import re as again
        from re import IGNORECASE, compile, sub
        def f():
            import re as late
            return late
        """,
    )
    module = Library(tmp_path, fast_patterns=True).main(Path(path))
    assert isinstance(module.re, ModuleType)
    assert module.re is module.again is module.f()
    assert (
        type(module.compile(".*a"))
        is type(module.re.compile(".*a"))
        is PrefilteredPattern
    )
    assert module.sub is re.sub
    assert module.re.error is re.error


def test_a_file_of_rules_has_pythons_re_otherwise(tmp_path: Path) -> None:
    """The replacement is a setting that is off by default."""
    path = write(
        tmp_path, "main.py", "import re\ndef f():\n    import re\n    return re\n"
    )
    module = Library(tmp_path).main(Path(path))
    assert module.re is module.f() is re
