"""The lines of the configuration file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgswitch.config.load import FilePosition, IniContent, read_ini, read_text
from tests.unit.config.files import reader_of


def _read(text: str, **included: str) -> IniContent:
    return read_ini("x.ini", reader_of({"x.ini": text, **included}))


def _pairs(reading: IniContent) -> list[tuple[str | None, str, str]]:
    return [(entry.section, entry.key, entry.value) for entry in reading.entries]


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("a=1", "a", "1"),
        ("  a =\t1  ", "a", "1"),
        ("a = 1 ; x", "a", "1 ; x"),
        ("a = # x", "a", "# x"),
        ("a =", "a", ""),
        ("a = b = c", "a", "b = c"),
        ("a = 'x'", "a", "'x'"),
        ("* = host=x", "*", "host=x"),
        ("a.b-c_9 = x", "a.b-c_9", "x"),
        ("'my db' = x", "my db", "x"),
        ("'a\"b=c' = x", 'a"b=c', "x"),
        ('"my db" = x', "my db", "x"),
        ("a = 1\r", "a", "1"),
    ],
)
def test_pairs(line: str, key: str, value: str) -> None:
    """A key is a word or quoted; a value is the rest of the line, as it is."""
    assert _pairs(_read(f"[s]\n{line}\n")) == [("s", key, value)]


@pytest.mark.parametrize("line", ["", "  ", "; a = 1", "# a = 1", "  ;x", "\t# x"])
def test_comments(line: str) -> None:
    """Blank lines and lines that begin with ; or # say nothing."""
    assert _read(f"{line}\n") == IniContent()


@pytest.mark.parametrize(
    "line", ["a", "a b = 1", "'a = 1", "a b", "[s", "[s] x", "%include", "%x y", "= 1"]
)
def test_syntax_errors(line: str) -> None:
    """Parsing ends at an invalid line; earlier lines are kept."""
    reading = _read(f"[s]\na=1\n{line}\nb=2\n")
    assert _pairs(reading) == [("s", "a", "1")]
    (problem,) = reading.problems
    assert problem.startswith(
        "syntax error in configuration (x.ini:3), stopping loading; accepted: "
    )


def test_sections_and_places() -> None:
    """Sections may repeat; every entry knows where it stands."""
    reading = _read("k=0\n[a]\nk=1\n[b]\nk=2\n\n[a]\nk=3\n")
    assert [tuple(entry) for entry in reading.entries] == [
        (None, "k", "0", FilePosition("x.ini", 1)),
        ("a", "k", "1", FilePosition("x.ini", 3)),
        ("b", "k", "2", FilePosition("x.ini", 5)),
        ("a", "k", "3", FilePosition("x.ini", 8)),
    ]
    assert reading.sections == {
        "a": FilePosition("x.ini", 2),
        "b": FilePosition("x.ini", 4),
    }


def test_include() -> None:
    """The section holds into an included file and out of it."""
    reading = _read(
        "[a]\n%include one\nz=9\n", one="k=1\n%include two\n", two="[b]\nk=2"
    )
    assert _pairs(reading) == [("a", "k", "1"), ("b", "k", "2"), ("b", "z", "9")]
    assert [str(entry.place) for entry in reading.entries] == [
        "one:1",
        "two:2",
        "x.ini:3",
    ]


def test_missing_file() -> None:
    """A file that cannot be read is a problem with the system's reason."""
    reading = read_ini("no.ini", reader_of({}))
    assert reading.problems == [
        'could not load file "no.ini": No such file or directory'
    ]


def test_missing_include() -> None:
    """A problem inside an include is followed by the place of the include."""
    reading = _read("[a]\n%include other file\nk=1\n")
    assert reading.problems == [
        'could not load file "other file": No such file or directory',
        "error processing include file in configuration (x.ini:2), stopping loading",
    ]
    assert not reading.entries


@pytest.mark.parametrize(("levels", "problems"), [(10, 0), (11, 11)])
def test_include_depth(levels: int, problems: int) -> None:
    """Ten levels of includes are read; an eleventh ends the reading."""
    files = {f"f{level}": f"%include f{level + 1}" for level in range(1, levels)}
    reading = _read("%include f1", **files, **{f"f{levels}": "[a]"})
    assert len(reading.problems) == problems
    if problems:
        assert reading.problems[0].startswith(
            "include nesting level too deep (f10:1), stopping loading"
        )


def test_include_of_itself() -> None:
    """A file that includes itself ends at the deepest level too."""
    assert "nesting level too deep" in _read("%include x.ini").problems[0]


def test_bytes_survive(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 come back as they were when encoded again."""
    file = tmp_path / "a.ini"
    file.write_bytes(b"[s]\nk=\xe9\xc3\xa9\n")
    (entry,) = read_ini(str(file)).entries
    assert entry.value.encode(errors="surrogateescape") == b"\xe9\xc3\xa9"


def test_read_text_errors(tmp_path: Path) -> None:
    """A file that is not there is an OSError."""
    with pytest.raises(FileNotFoundError):
        read_text(str(tmp_path / "none"))
