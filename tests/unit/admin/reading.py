"""Takes the console's reply bytes apart, without the product's own decoder."""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import unpack_from
from typing import Any, TypeVar

from pgswitch.admin.result_set import ResultRows, data_rows, description
from pgswitch.admin.statements import find
from pgswitch.admin.view import ServiceView, Show

T = TypeVar("T")
Cells = tuple[str | None, ...]
QUIET = "123Ints"
"""Messages of the extended protocol that say nothing but that they came."""


@dataclass
class Answer:
    """A reply in plain values; fields that did not come stay empty."""

    columns: list[tuple[str, int]] = field(default_factory=list)
    rows: list[Cells] = field(default_factory=list)
    tag: str | None = None
    errors: list[dict[str, str]] = field(default_factory=list)
    notices: list[dict[str, str]] = field(default_factory=list)
    order: str = ""
    """The type letters, in the order in which they came."""


def read(data: bytes) -> Answer:
    """Return what the messages of ``data`` say."""
    answer = Answer()
    at = 0
    while at < len(data):
        letter = chr(data[at])
        (size,) = unpack_from("!I", data, at + 1)
        body = data[at + 5 : at + 1 + size]
        at += 1 + size
        answer.order += letter
        match letter:
            case "T":
                answer.columns = _columns(body)
            case "D":
                answer.rows.append(_cells(body))
            case "C":
                answer.tag = body[:-1].decode()
            case "E":
                answer.errors.append(_fields(body))
            case "N":
                answer.notices.append(_fields(body))
            case "Z":
                assert body == b"I"
            case _:
                assert letter in QUIET
    return answer


def _columns(body: bytes) -> list[tuple[str, int]]:
    (count,) = unpack_from("!H", body)
    at, found = 2, []
    for _ in range(count):
        end = body.index(0, at)
        table, place, oid, _size, modifier, form = unpack_from("!IHIhiH", body, end + 1)
        assert (table, place, modifier, form) == (0, 0, -1, 0)
        found.append((body[at:end].decode(), oid))
        at = end + 19
    assert at == len(body)
    return found


def _cells(body: bytes) -> Cells:
    (count,) = unpack_from("!H", body)
    at = 2
    cells: list[str | None] = []
    for _ in range(count):
        (size,) = unpack_from("!i", body, at)
        at += 4
        cells.append(None if size < 0 else body[at : at + size].decode())
        at += max(size, 0)
    assert at == len(body)
    return tuple(cells)


def _fields(body: bytes) -> dict[str, str]:
    return {chr(one[0]): one[1:].decode() for one in body.split(b"\0") if one}


def rows_of(name: str, view: ServiceView) -> list[Cells]:
    """Return the rows of a SHOW as a client reads them; each fills its columns."""
    found = find(name.upper())
    assert found is not None
    return _read_rows(found, found.rows(view))


def cells(show: Show[T], *objects: T) -> list[Cells]:
    """Return the rows that a table makes of these objects."""
    return _read_rows(
        show, [[one.value(row) for one in show.columns] for row in objects]
    )


def _read_rows(show: Show[Any], rows: ResultRows) -> list[Cells]:
    answer = read(description(show.columns) + b"".join(data_rows(show.columns, rows)))
    assert {len(row) for row in answer.rows} <= {len(answer.columns)}
    return answer.rows
