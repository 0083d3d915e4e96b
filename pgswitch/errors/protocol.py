"""Violations of the protocol, by a client or a server."""

from __future__ import annotations

from pgswitch.errors.base import SHOWN_HEADER, Fault


class ProtocolViolation(Fault):
    """The client broke the protocol."""

    text = "bad packet"
    remedy = (
        "Update the driver; if it is something else than a PostgreSQL client, "
        "find out who connects."
    )


class BadPacketHeader(ProtocolViolation):
    """The first bytes of a message from the client make no sense."""

    text = "bad packet header: '{digits}'"
    detail = "The bytes are neither a startup packet nor a message PostgreSQL knows."

    def __init__(self, header: bytes) -> None:
        """Take the bytes received; the text shows the first eight in hexadecimal."""
        super().__init__(digits=bytes(header[:SHOWN_HEADER]).hex())


class UnknownPacket(ProtocolViolation):
    """A message of a type that the client may not send at this point."""

    text = "unknown pkt"


class ServerUnknownPacket(UnknownPacket):
    """A message of a type that servers do not send."""

    remedy = "Check that it is PostgreSQL that answers there, and in which version."


class ServerUnaskedAnswer(ProtocolViolation):
    """The server sent an answer without a request.

    What follows might belong to anyone.
    """

    text = "unexpected answer from server"
    remedy = "Check that it is PostgreSQL that answers there, and in which version."


class ServerBadHeader(ProtocolViolation):
    """A message of the server has an impossible length."""

    text = "bad pkt header"
    remedy = "Check that it is PostgreSQL that answers there, and in which version."


class ServerMessageTooLong(ProtocolViolation):
    """A message of the server is longer than its kind may be at this point."""

    text = "message '{kind}' of the server is too long: {size} bytes"
    remedy = "Check that it is PostgreSQL that answers there, and in which version."


class BrokenPacket(ProtocolViolation):
    """A message does not have the layout that the protocol gives it.

    ``message`` is the manual's name of the message, for example ``Parse``.
    """

    text = "broken {message} packet"


class ServerIterationsTooMany(BrokenPacket):
    """The server asks for more SCRAM iterations than scram_iterations_max allows."""

    text = (
        "server login failed: the server asks for {iterations} SCRAM iterations,"
        " more than scram_iterations_max ({limit})"
    )
    remedy = (
        "Raise scram_iterations_max, or store a secret with fewer iterations on "
        "the server."
    )


class ParameterStatusNotStored(ProtocolViolation):
    """A parameter that the server reported cannot be stored."""

    text = "failed to store ParameterStatus"
    remedy = "Check that it is PostgreSQL that answers there, and in which version."


class IncompleteQuery(ProtocolViolation):
    """A Query message to the console has no terminating zero byte."""

    text = "incomplete query"


class OldProtocol(ProtocolViolation):
    """The client speaks protocol 2.0."""

    text = "old V2 protocol not supported"
    hint = "Protocol 3.0 or later is needed (PostgreSQL 7.4 and later drivers)."


class UnencryptedDataAfterSslRequest(ProtocolViolation):
    """Bytes without encryption followed an SSLRequest. They may have been injected."""

    text = "received unencrypted data after SSL request"
    remedy = "Update the driver; if it is current, suspect an attack."


class UnencryptedDataAfterGssRequest(ProtocolViolation):
    """Bytes without encryption followed a GSSENCRequest.

    They may have been injected.
    """

    text = "received unencrypted data after GSSAPI encryption request"
    remedy = "Update the driver; if it is current, suspect an attack."


class StartupRepeated(ProtocolViolation):
    """A second startup packet on one connection."""

    text = "client re-sent startup pkt"


class StartupTerminatorMissing(ProtocolViolation):
    """The last byte of a startup packet does not terminate its parameter list."""

    text = "invalid startup packet layout: expected terminator as last byte"


class PasswordBeforeStartup(ProtocolViolation):
    """A PasswordMessage came before the startup packet."""

    text = "client password pkt before startup packet"
