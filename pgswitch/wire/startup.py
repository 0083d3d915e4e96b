"""The untyped first packets of a client, and what its startup parameters mean.

Three parts.  :class:`FirstPacketReader` takes bytes and returns the packet:
StartupMessage, SSLRequest, GSSENCRequest, CancelRequest, or DirectTls where a TLS
handshake begins at once.  :func:`sort_parameters` checks the startup parameters as
PgBouncer does.  :class:`StartupCache` keeps the result for equal packets.

Rules are from the manual's chapter "Message Formats" and, where the manual leaves
freedom, PgBouncer's: one zero byte ends the packet, packets are short.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from struct import Struct
from typing import Final, NamedTuple

from pgswitch.errors import (
    BadPacketHeader,
    NoUsername,
    OldProtocol,
    PasswordBeforeStartup,
    SilentClose,
    StartupTerminatorMissing,
    UnsupportedOption,
    UnsupportedOptionsForm,
    UnsupportedStartupParameter,
)
from pgswitch.wire import constants as c
from pgswitch.wire.decode import text
from pgswitch.wire.params import Tracking, Values

_HEADER: Final = Struct("!II")
_MAJOR: Final = 3
_EXTENSION: Final = "_pq_."
"""Names that start so ask for extensions of the protocol."""


# ----------------------------------------------------------------- first packets


class Startup(NamedTuple):
    """StartupMessage: minor version of protocol 3, parameters in order, whole packet.

    A parameter given twice counts as last given.
    """

    minor: int
    parameters: dict[str, str]
    raw: bytes


class SslRequest(NamedTuple):
    """SSLRequest: the client asks for TLS and waits for one byte."""


class GssEncRequest(NamedTuple):
    """GSSENCRequest: the client asks for GSSAPI encryption and waits for one byte."""


class CancelRequest(NamedTuple):
    """CancelRequest with the key of BackendKeyData, process number included."""

    key: bytes


class DirectTls(NamedTuple):
    """A TLS handshake has begun without an SSLRequest (sslnegotiation=direct)."""


FirstPacket = Startup | SslRequest | GssEncRequest | CancelRequest | DirectTls


class FirstPacketReader:
    """Collects bytes until a first packet is whole.

    May be used again for the packet after an SSLRequest; holds less than STARTUP_LIMIT.
    """

    __slots__ = ("_held", "_known")

    def __init__(self, known: Mapping[bytes, Startup] | None = None) -> None:
        """``known`` are packets that were read before, by their bytes."""
        self._held = b""
        self._known: Mapping[bytes, Startup] = {} if known is None else known

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held: an end of the connection is then a mere probe."""
        return not self._held

    def feed(self, data: bytes) -> tuple[FirstPacket, bytes] | None:
        """Take bytes; return the packet and the bytes behind it, None for "more".

        With DirectTls all bytes are returned: they belong to the handshake. Bytes
        behind SSLRequest and GSSENCRequest were sent in clear and must be refused.

        Raises BadPacketHeader, OldProtocol, StartupTerminatorMissing,
        PasswordBeforeStartup, or SilentClose for what is no first packet at all.
        """
        held = self._held + data
        known = self._known.get(held)
        if known is not None:
            self._held = b""
            return known, b""
        found = _read(held)
        if found is None:
            self._held = held
        else:
            self._held = b""
        return found


def _read(held: bytes) -> tuple[FirstPacket, bytes] | None:
    """Return the packet at the start of ``held`` and the rest, None for "more"."""
    if held[:1] == bytes((c.TLS_HANDSHAKE,)):
        return DirectTls(), held
    if held and held[0] != 0:
        _refuse_typed(held)
        return None
    if len(held) < c.STARTUP_HEADER_SIZE:
        return None
    size, code = _HEADER.unpack_from(held)
    if not c.STARTUP_HEADER_SIZE <= size < c.STARTUP_LIMIT:
        raise BadPacketHeader(header=held)
    if code == c.PROTOCOL_2_0:
        raise OldProtocol
    if code in (c.SSL_REQUEST_CODE, c.GSSENC_REQUEST_CODE):
        if size != c.STARTUP_HEADER_SIZE:
            raise BadPacketHeader(header=held)
    elif code != c.CANCEL_REQUEST_CODE and code >> 16 != _MAJOR:
        raise BadPacketHeader(header=held)
    if len(held) < size:
        return None
    return _packet(code, held[:size]), held[size:]


def _refuse_typed(held: bytes) -> None:
    """Refuse a typed message in place of a first packet, once its header is there.

    Its length is not trusted: we buffer nothing for it.
    """
    if len(held) < c.HEADER_SIZE:
        return
    if held[0] == c.PASSWORD_MESSAGE:
        raise PasswordBeforeStartup
    raise SilentClose("bad packet")


def _packet(code: int, raw: bytes) -> FirstPacket:
    """Return the packet with a header that is checked."""
    body = raw[c.STARTUP_HEADER_SIZE :]
    if code == c.SSL_REQUEST_CODE:
        return SslRequest()
    if code == c.GSSENC_REQUEST_CODE:
        return GssEncRequest()
    if code == c.CANCEL_REQUEST_CODE:
        if not c.CANCEL_KEY_SIZE <= len(body) <= c.CANCEL_KEY_LIMIT:
            raise SilentClose("bad cancel request")
        return CancelRequest(body)
    return Startup(code & 0xFFFF, _parameters(body), raw)


def _parameters(body: bytes) -> dict[str, str]:
    """Return the parameters: pairs of zero-ended texts, then one more zero byte."""
    if body == b"\0":
        return {}
    if not body.endswith(b"\0\0"):
        raise StartupTerminatorMissing
    fields = body[:-2].split(b"\0")
    names, values = fields[::2], fields[1::2]
    if len(names) != len(values) or b"" in names:
        raise StartupTerminatorMissing
    return {text(name): text(value) for name, value in zip(names, values, strict=True)}


# -------------------------------------------------------------- protocol version


class VersionNegotiation(NamedTuple):
    """Whether to answer with NegotiateProtocolVersion, and the names to refuse."""

    is_needed: bool
    options: tuple[str, ...]


def negotiate(minor: int, parameters: Iterable[str]) -> VersionNegotiation:
    """Return the answer to a client that asks for protocol 3.``minor``.

    We speak 3.0 and no extension, so any other minor version and any name that
    starts with ``_pq_.`` has to be answered.
    """
    options = tuple(name for name in parameters if name.startswith(_EXTENSION))
    return VersionNegotiation(minor > 0 or bool(options), options)


# ------------------------------------------------------------ startup parameters


class Replication(Enum):
    """What the startup parameter ``replication`` asks for, in the console's words."""

    NONE = "none"
    LOGICAL = "logical"
    PHYSICAL = "physical"


@dataclass(frozen=True, slots=True)
class StartupFacts:
    """What the startup parameters say.

    ``tracked`` holds the values of tracked settings under the spelling of the list
    handed in; ``options`` is the raw text of that parameter, for replication.
    """

    user: str
    database: str
    replication: Replication = Replication.NONE
    options: str | None = None
    tracked: dict[str, str] = field(default_factory=dict)

    @property
    def application_name(self) -> str | None:
        """The client's name for itself, None if it gave none or it is untracked."""
        return self.tracked.get("application_name")


def sort_parameters(
    parameters: Mapping[str, str],
    *,
    tracked: Iterable[str],
    ignore: Iterable[str],
) -> StartupFacts:
    """Sort startup parameters by their meaning.

    ``tracked`` are the settings tracked per client, any case; ``ignore`` is the setting
    ``ignore_startup_parameters``, exact case. The database is the user's name if none
    or an empty one is given.  Extensions of the protocol are left to
    :func:`negotiate`.  The ``options`` of a replication connection go to the server as
    they are, so they are not parsed.

    Raises NoUsername, UnsupportedStartupParameter, UnsupportedOption,
    UnsupportedOptionsForm.
    """
    spellings = {name.lower(): name for name in tracked}
    ignored = frozenset(ignore)
    replication = _replication(parameters.get("replication", ""))
    kept: dict[str, str] = {}
    given: dict[str, str] = {}
    for name, value in parameters.items():
        if name in ("user", "database", "replication") or name.startswith(_EXTENSION):
            continue
        if name == "options":
            if replication is Replication.NONE:
                kept |= _options(value, spellings, ignored)
        elif (spelling := spellings.get(name.lower())) is not None:
            given[spelling] = value
        elif name not in ignored:
            raise UnsupportedStartupParameter(name=name, value=value)
    user = parameters.get("user", "")
    if not user:
        raise NoUsername
    return StartupFacts(
        user=user,
        database=parameters.get("database", "") or user,
        replication=replication,
        options=parameters.get("options"),
        # A server applies the options first, whatever their position.
        tracked=kept | given,
    )


def _replication(value: str) -> Replication:
    """Return the kind of replication; a word that is no boolean means none."""
    if value == "database":
        return Replication.LOGICAL
    return Replication.PHYSICAL if _is_true(value) else Replication.NONE


def _is_true(value: str) -> bool:
    """Whether PostgreSQL would read the word as true: 1, on, or a start of true, yes.

    (Manual, "Setting Parameters": unambiguous prefixes, any case.)
    """
    word = value.lower()
    starts = any(full.startswith(word) for full in ("true", "yes"))
    return word in ("1", "on") or (word != "" and starts)


def _options(
    value: str, spellings: Mapping[str, str], ignored: frozenset[str]
) -> dict[str, str]:
    """Return the tracked settings inside the startup parameter ``options``."""
    kept: dict[str, str] = {}
    for name, setting in _settings(split_options(value)):
        spelling = spellings.get(name.lower())
        if spelling is not None:
            kept[spelling] = setting
        elif name not in ignored and "options" not in ignored:
            raise UnsupportedOption(name=name, value=setting)
    return kept


def _settings(words: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield name and value of ``-c name=value``, ``-cname=value``, ``--name=value``."""
    following = iter(words)
    for word in following:
        if word == "-c":
            setting = next(following, "")
        elif word.startswith(("-c", "--")):
            setting = word[2:]
        else:
            raise UnsupportedOptionsForm
        name, equals, value = setting.partition("=")
        if not name or not equals:
            raise UnsupportedOptionsForm
        yield name, value


def split_options(value: str) -> list[str]:
    r"""Return the words of ``options``: split at blanks, ``\`` takes the next as is.

    (Manual, libpq, connection parameter ``options``.) A ``\`` at the very end is
    dropped.
    """
    words: list[str] = []
    word: list[str] | None = None
    characters = iter(value)
    for character in characters:
        if character.isspace():
            if word is not None:
                words.append("".join(word))
            word = None
            continue
        if word is None:
            word = []
        word.append(next(characters, "") if character == "\\" else character)
    if word is not None:
        words.append("".join(word))
    return words


# ------------------------------------------------------------ parsed packets

_MAX_CACHED = 1000
_MAX_CACHED_SIZE = 512
"""Bytes of a packet that is cached: half a megabyte in all, whatever clients send."""


class ParsedStartup(NamedTuple):
    """What a packet says, what to negotiate, and the tracked parameters it asks for."""

    facts: StartupFacts
    negotiation: VersionNegotiation
    parameters: Values


class StartupCache:
    """Parses start-up packets, and each only once, by one version of the settings.

    An application's connections begin with the same bytes; parsing and sorting their
    parameters again each time was a sixth of the cost of a connection.
    """

    def __init__(self, tracking: Tracking, ignored: tuple[str, ...]) -> None:
        """``ignored`` is the setting ignore_startup_parameters."""
        self.ignored = ignored
        self._tracking = tracking
        self.packets: dict[bytes, Startup] = {}
        """The packets that were parsed, by their bytes; see FirstPacketReader."""
        self._known: dict[bytes, ParsedStartup] = {}

    def parse(self, startup: Startup) -> ParsedStartup:
        """Return what a packet asks for.

        Raises what ``sort_parameters`` raises.
        """
        known = self._known.get(startup.raw)
        if known is not None:
            return known
        parameters = startup.parameters
        facts = sort_parameters(
            parameters, tracked=self._tracking.names, ignore=self.ignored
        )
        parsed_startup = ParsedStartup(
            facts,
            negotiate(startup.minor, parameters),
            self._tracking.collect(facts.tracked),
        )
        if len(startup.raw) <= _MAX_CACHED_SIZE:
            if len(self._known) >= _MAX_CACHED:
                self._known.clear()
                self.packets.clear()
            self.packets[startup.raw] = startup
            self._known[startup.raw] = parsed_startup
        return parsed_startup
