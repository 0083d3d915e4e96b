"""Messages of clients and servers in tests, and reading them back."""

from __future__ import annotations

READY = b"Z\0\0\0\5I"
IN_TRANSACTION = b"Z\0\0\0\5T"


def message(kind: bytes, body: bytes = b"") -> bytes:
    """Return a typed message."""
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def query(text: str = "SELECT 1") -> bytes:
    """Return a Query."""
    return message(b"Q", text.encode() + b"\0")


def describe_statement(name: str) -> bytes:
    """Return a Describe of a prepared statement."""
    return message(b"D", b"S" + name.encode() + b"\0")


def close_statement(name: str) -> bytes:
    """Return a Close of a prepared statement."""
    return message(b"C", b"S" + name.encode() + b"\0")


GSSENC_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x30"

RESULT = message(b"T", b"\0\0") + message(b"D", b"\0\0") + message(b"C", b"SELECT 1\0")
ANSWER = RESULT + READY
TERMINATE = message(b"X")


def error(text: str, sqlstate: str = "XX000", severity: str = "ERROR") -> bytes:
    """Return an ErrorResponse of a server."""
    fields = f"S{severity}\0V{severity}\0C{sqlstate}\0M{text}\0\0"
    return message(b"E", fields.encode())


def parameter(name: str, value: str) -> bytes:
    """Return a ParameterStatus."""
    return message(b"S", f"{name}\0{value}\0".encode())


def split(data: bytes) -> list[tuple[str, bytes]]:
    """Return type and body of each message; the last must be whole."""
    messages = []
    while data:
        size = int.from_bytes(data[1:5], "big") + 1
        assert len(data) >= size, f"a cut message: {data!r}"
        messages.append((chr(data[0]), data[5:size]))
        data = data[size:]
    return messages


def kinds(data: bytes) -> str:
    """Return the types of some messages in a row."""
    return "".join(kind for kind, _body in split(data))


def error_code(data: bytes) -> str:
    """Return the SQLSTATE of the last ErrorResponse, empty if there is none."""
    codes = [
        next(part[1:].decode() for part in body.split(b"\0") if part[:1] == b"C")
        for kind, body in split(data)
        if kind == "E"
    ]
    return codes[-1] if codes else ""


def error_text(data: bytes) -> str:
    """Return the text of the last ErrorResponse among some messages, or nothing."""
    text = ""
    for kind, body in split(data):
        if kind == "E":
            fields = {part[:1]: part[1:] for part in body.split(b"\0") if part}
            text = fields[b"M"].decode()
    return text
