"""What the tests of each group of errors share."""

from __future__ import annotations

from types import ModuleType

from pgswitch.errors import base, protocol, session, switchover

VALUES: dict[str, object] = {
    "busy": 2,
    "command": "show x",
    "count": 1,
    "database": "shop",
    "here": "shop",
    "iterations": 300_000,
    "key": "shop.2",
    "kind": "S",
    "digits": "00",
    "method": "7 (GSSAPI)",
    "limit": 200_000,
    "message": "Parse",
    "name": "foo",
    "reason": "why",
    "seconds": 2.5,
    "size": 70_000,
    "text": "hello",
    "type": 80,
    "value": "bar",
    "verb": "pause",
}
OWN_ARGUMENTS: dict[type, dict[str, object]] = {
    protocol.BadPacketHeader: {"header": b"\0"},
    base.SilentClose: {"reason": "unexpected eof"},
    session.ServerLoginRefused: {"message": "no", "sqlstate": "3D000"},
    switchover.SessionEnded: {"message": "no", "sqlstate": "57P01"},
    switchover.StatementEnded: {"message": "no", "sqlstate": "57P01", "why": "why"},
}


def classes_of(module: ModuleType) -> list[type[base.MessageFields]]:
    """Return the classes of a module that have a text of their own."""
    found = [one for one in vars(module).values() if isinstance(one, type)]
    return [
        one
        for one in found
        if one.__module__ == module.__name__
        and issubclass(one, base.MessageFields)
        and one.text
    ]


def check(kind: type[base.MessageFields]) -> None:
    """Fail unless a class has a docstring, a severity, and templates that fill."""
    made: base.MessageFields = kind(**OWN_ARGUMENTS.get(kind, VALUES))  # type: ignore[arg-type]
    assert kind.__doc__
    assert made.severity in ("FATAL", "ERROR", "NOTICE")
    assert len(made.sqlstate) == 5
    assert made.text
    assert "{" not in made.text + (made.detail or "") + (made.hint or "")
    assert "{" not in (made.note or "")
