"""Protocol violations by a client or a server."""

from __future__ import annotations

from pgswitch.errors.base import SHOWN_HEADER, Fault


class ProtocolViolation(Fault):
    """A peer violated the protocol; base of the classes below."""

    text = "bad packet"


class BadPacketHeader(ProtocolViolation):
    """A client's message has an invalid header."""

    text = "bad packet header: '{digits}'"
    detail = "The bytes are neither a startup packet nor a message PostgreSQL knows."

    def __init__(self, header: bytes) -> None:
        """Take the bytes received; the first eight are shown in hexadecimal."""
        super().__init__(digits=bytes(header[:SHOWN_HEADER]).hex())


class UnknownPacket(ProtocolViolation):
    """A message type that is not allowed here."""

    text = "unknown pkt"


class ServerUnknownPacket(UnknownPacket):
    """A message type that servers do not send."""


class ServerUnaskedAnswer(ProtocolViolation):
    """A server sends an answer without a request; the rest cannot be trusted."""

    text = "unexpected answer from server"


class ServerBadHeader(ProtocolViolation):
    """A server's message has an invalid length."""

    text = "bad pkt header"


class ServerMessageTooLong(ProtocolViolation):
    """A server's message is longer than its type may be at this point."""

    text = "message '{kind}' of the server is too long: {size} bytes"


class BrokenPacket(ProtocolViolation):
    """A message body does not have the layout of its type.

    ``message`` is the manual's name of the message, for example ``Parse``.
    """

    text = "broken {message} packet"


class ServerIterationsTooMany(BrokenPacket):
    """A server demands more iterations than ``scram_iterations_max`` allows."""

    text = (
        "server login failed: the server asks for {iterations} SCRAM iterations,"
        " more than scram_iterations_max ({limit})"
    )


class ParameterStatusNotStored(ProtocolViolation):
    """A server's ParameterStatus is well-formed but cannot be stored."""

    text = "failed to store ParameterStatus"


class IncompleteQuery(ProtocolViolation):
    """A console Query without a terminating zero byte."""

    text = "incomplete query"


class OldProtocol(ProtocolViolation):
    """The client speaks protocol 2.0."""

    text = "old V2 protocol not supported"
    hint = "Protocol 3.0 or later is needed (PostgreSQL 7.4 and later drivers)."


class UnencryptedDataAfterSslRequest(ProtocolViolation):
    """Unencrypted bytes follow an SSLRequest; they may have been injected."""

    text = "received unencrypted data after SSL request"


class UnencryptedDataAfterGssRequest(ProtocolViolation):
    """Unencrypted bytes follow a GSSENCRequest; they may have been injected."""

    text = "received unencrypted data after GSSAPI encryption request"


class StartupRepeated(ProtocolViolation):
    """A second startup packet on one connection."""

    text = "client re-sent startup pkt"


class StartupTerminatorMissing(ProtocolViolation):
    """The last byte of a startup packet does not terminate its parameter list."""

    text = "invalid startup packet layout: expected terminator as last byte"


class PasswordBeforeStartup(ProtocolViolation):
    """A PasswordMessage came before the startup packet."""

    text = "client password pkt before startup packet"
