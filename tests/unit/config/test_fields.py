"""Fields that carry what is known about a setting."""

from __future__ import annotations

from dataclasses import dataclass, field

from pgswitch.config.units import INTEGER, TEXT, Setting, setting, table_of


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    size: int = setting(INTEGER, "0x10", "a size", boot=True)
    word: str | None = setting(TEXT, None, "a word")
    key: str = setting(TEXT, "k", "a key", secret=True)
    other: int = field(default=3)


def test_defaults_are_parsed() -> None:
    """The default text of a field becomes its default value, None stays None."""
    assert (_Sample().size, _Sample().word) == (16, None)


def test_table() -> None:
    """The table has the fields made by setting, in order, with all that was said."""
    assert table_of(_Sample) == {
        "size": Setting(INTEGER, "0x10", "a size", reloadable=False),
        "word": Setting(TEXT, None, "a word", reloadable=True),
        "key": Setting(TEXT, "k", "a key", reloadable=True),
    }
    assert list(table_of(_Sample)) == ["size", "word", "key"]


def test_secrets_do_not_show() -> None:
    """A secret field is not part of the value's repr."""
    assert repr(_Sample(key="hush")) == "_Sample(size=16, word=None, other=3)"
