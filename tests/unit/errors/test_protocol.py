"""Tests of pgswitch/errors/protocol.py."""

import pytest

from pgswitch.errors import protocol
from pgswitch.errors.base import MessageFields
from tests.unit.errors.families import check, classes_of


@pytest.mark.parametrize("kind", classes_of(protocol))
def test_every_report_can_be_made(kind: type[MessageFields]) -> None:
    """Each class has a docstring, a severity and templates that its values fill."""
    check(kind)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (protocol.OldProtocol(), "old V2 protocol not supported"),
        (
            protocol.BadPacketHeader(bytes.fromhex("0000000800040000ffff")),
            "bad packet header: '0000000800040000'",
        ),
        (protocol.BadPacketHeader(header=b"\0\1\2"), "bad packet header: '000102'"),
        (protocol.BrokenPacket(message="Bind"), "broken Bind packet"),
        (protocol.UnknownPacket(), "unknown pkt"),
        (protocol.ServerUnknownPacket(), "unknown pkt"),
        (protocol.ServerBadHeader(), "bad pkt header"),
        (
            protocol.ServerMessageTooLong(kind="S", size=70_000),
            "message 'S' of the server is too long: 70000 bytes",
        ),
        (
            protocol.StartupTerminatorMissing(),
            "invalid startup packet layout: expected terminator as last byte",
        ),
    ],
)
def test_texts_are_those_of_the_reference(fault: MessageFields, text: str) -> None:
    """Tools match on these texts, so they are spelled out here once more."""
    assert fault.text == text
    assert str(fault) == text
