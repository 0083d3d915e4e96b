"""A peer that breaks the protocol."""

from __future__ import annotations

from pgswitch.errors.base import SHOWN_HEADER, Fault


class ProtocolViolation(Fault):
    """A peer sent what the protocol does not allow; base of the ones below."""

    text = "bad packet"


class BadPacketHeader(ProtocolViolation):
    """A client's message has no acceptable header."""

    text = "bad packet header: '{digits}'"
    detail = "The bytes are neither a startup packet nor a message PostgreSQL knows."

    def __init__(self, header: bytes) -> None:
        """Take the bytes seen; the first eight are shown in hexadecimal."""
        super().__init__(digits=bytes(header[:SHOWN_HEADER]).hex())


class UnknownPacket(ProtocolViolation):
    """A message type that its sender may not use here."""

    text = "unknown pkt"


class ServerUnknownPacket(UnknownPacket):
    """A server's message has a type that servers do not send."""


class ServerUnaskedAnswer(ProtocolViolation):
    """A server answers what nobody has asked: what follows may be anybody's."""

    text = "unexpected answer from server"


class ServerBadHeader(ProtocolViolation):
    """A server's message has an impossible length."""

    text = "bad pkt header"


class ServerMessageTooLong(ProtocolViolation):
    """A server's message is longer than its kind may be where it came."""

    text = "message '{kind}' of the server is too long: {size} bytes"


class BrokenPacket(ProtocolViolation):
    """A body does not have the layout of its message.

    ``message`` is the manual's name of the message, for example ``Parse``.
    """

    text = "broken {message} packet"


class ServerIterationsTooMany(BrokenPacket):
    """A server asks for more work than ``scram_iterations_max`` allows."""

    text = (
        "server login failed: the server asks for {iterations} SCRAM iterations,"
        " more than scram_iterations_max ({limit})"
    )


class ParameterStatusNotStored(ProtocolViolation):
    """A server's ParameterStatus is well-formed but cannot be stored."""

    text = "failed to store ParameterStatus"


class IncompleteQuery(ProtocolViolation):
    """A console Query has no terminating zero byte."""

    text = "incomplete query"


class OldProtocol(ProtocolViolation):
    """The client speaks protocol 2.0."""

    text = "old V2 protocol not supported"
    hint = "Protocol 3.0 or later is needed (PostgreSQL 7.4 and later drivers)."


class UnencryptedDataAfterSslRequest(ProtocolViolation):
    """Bytes came in clear behind an SSLRequest: perhaps injected on the way."""

    text = "received unencrypted data after SSL request"


class UnencryptedDataAfterGssRequest(ProtocolViolation):
    """Bytes came in clear behind a GSSENCRequest: perhaps injected on the way."""

    text = "received unencrypted data after GSSAPI encryption request"


class StartupRepeated(ProtocolViolation):
    """A second startup packet on one connection."""

    text = "client re-sent startup pkt"


class StartupTerminatorMissing(ProtocolViolation):
    """The parameter list of a startup packet does not end with its last byte."""

    text = "invalid startup packet layout: expected terminator as last byte"


class PasswordBeforeStartup(ProtocolViolation):
    """A password came before the startup packet."""

    text = "client password pkt before startup packet"
