"""Tests of pgswitch/wire/startup.py."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgswitch import errors
from pgswitch.wire import encode
from pgswitch.wire import startup as s
from tests.fakes.messages import GSSENC_REQUEST

LOGIN = encode.startup({"user": "bob", "database": "shop"})
TRACKED = ("DateStyle", "client_encoding", "TimeZone", "application_name")

PACKETS = [
    (LOGIN, s.Startup(0, {"user": "bob", "database": "shop"}, LOGIN)),
    (
        encode.startup({"user": "b"}, 0x00030009),
        s.Startup(9, {"user": "b"}, encode.startup({"user": "b"}, 0x00030009)),
    ),
    (encode.startup({}), s.Startup(0, {}, encode.startup({}))),
    (encode.startup({"a": ""}), s.Startup(0, {"a": ""}, encode.startup({"a": ""}))),
    (encode.ssl_request(), s.SslRequest()),
    (GSSENC_REQUEST, s.GssEncRequest()),
    (encode.cancel_request(b"12345678"), s.CancelRequest(b"12345678")),
    (encode.cancel_request(b"1" * 36), s.CancelRequest(b"1" * 36)),
]

REFUSED = [
    (bytes.fromhex("0000000800040000"), errors.BadPacketHeader, "'0000000800040000'"),
    (bytes.fromhex("0000000400030000"), errors.BadPacketHeader, "'0000000400030000'"),
    (bytes.fromhex("00010000000300001234"), errors.BadPacketHeader, "'0001000000"),
    (bytes.fromhex("0000000904d2162f00"), errors.BadPacketHeader, "'0000000904d2162f'"),
    (bytes.fromhex("00000008ffffffff"), errors.BadPacketHeader, "'00000008ffffffff'"),
    (bytes.fromhex("0000000800020000"), errors.OldProtocol, "old V2"),
    (b"\0\0\0\x08\0\3\0\0", errors.StartupTerminatorMissing, "expected terminator"),
    (b"\0\0\0\x0c\0\3\0\0a\0b\0", errors.StartupTerminatorMissing, "terminator"),
    (b"\0\0\0\x0b\0\3\0\0a\0\0", errors.StartupTerminatorMissing, "terminator"),
    (b"\0\0\0\x0e\0\3\0\0a\0b\0\0x", errors.StartupTerminatorMissing, "terminator"),
    (b"\0\0\0\x0f\0\3\0\0a\0b\0\0\0\0", errors.StartupTerminatorMissing, "terminator"),
    (encode.cancel_request(b"1234567"), errors.SilentClose, "bad cancel request"),
    (encode.cancel_request(b"1" * 261), errors.SilentClose, "bad cancel request"),
    (encode.query("SELECT 1"), errors.SilentClose, "bad packet"),
    (b"GET / HTTP/1.1\r\n", errors.SilentClose, "bad packet"),
    (encode.password(b"x"), errors.PasswordBeforeStartup, "client password pkt"),
]


@pytest.mark.parametrize(("raw", "packet"), PACKETS)
@pytest.mark.parametrize("rest", [b"", b"rest"])
def test_packets(raw: bytes, packet: s.FirstPacket, rest: bytes) -> None:
    """Each kind of first packet is recognised; the bytes after it are returned."""
    reader = s.FirstPacketReader()
    assert reader.feed(raw + rest) == (packet, rest)
    assert reader.is_empty


@pytest.mark.parametrize(("raw", "packet"), PACKETS)
def test_packets_byte_by_byte(raw: bytes, packet: s.FirstPacket) -> None:
    """Nothing is decided before the last byte."""
    reader = s.FirstPacketReader()
    for at in range(len(raw) - 1):
        assert reader.feed(raw[at : at + 1]) is None
        assert not reader.is_empty
    assert reader.feed(raw[-1:]) == (packet, b"")
    assert reader.is_empty


def test_packet_after_ssl_request() -> None:
    """The same reader takes the startup packet that follows an SSLRequest."""
    reader = s.FirstPacketReader()
    assert reader.feed(encode.ssl_request()) == (s.SslRequest(), b"")
    found = reader.feed(LOGIN)
    assert found is not None
    assert isinstance(found[0], s.Startup)


def test_direct_tls_keeps_the_handshake() -> None:
    """A ClientHello is recognised by one byte and handed back whole."""
    assert s.FirstPacketReader().feed(b"\x16") == (s.DirectTls(), b"\x16")
    assert s.FirstPacketReader().feed(b"\x16\3\1") == (s.DirectTls(), b"\x16\3\1")


@pytest.mark.parametrize(("raw", "fault", "text"), REFUSED)
def test_refused(raw: bytes, fault: type[errors.Fault], text: str) -> None:
    """What is no first packet is refused as the reference does."""
    with pytest.raises(fault, match=text):
        s.FirstPacketReader().feed(raw)


@pytest.mark.parametrize("raw", [b"", b"\0", b"\0\0\0\4", b"\0\1\0\0", b"Q\0\0\0"])
def test_too_little_to_parse(raw: bytes) -> None:
    """Before a header is whole nothing is judged."""
    assert s.FirstPacketReader().feed(raw) is None


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_only_faults_escape(chunks: list[bytes]) -> None:
    """Whatever the bytes: packets, a request for more, or a Fault come out."""
    reader = s.FirstPacketReader()
    with suppress(errors.Fault):
        for chunk in chunks:
            reader.feed(chunk)


name = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8
)
value = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@given(st.dictionaries(name, value, max_size=4), st.lists(st.integers(0, 200)))
def test_any_cutting_gives_the_same(params: dict[str, str], cuts: list[int]) -> None:
    """However a packet is cut, its parameters come out in their order."""
    raw = encode.startup(params)
    ends = [*sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    reader = s.FirstPacketReader()
    found = [reader.feed(raw[a:b]) for a, b in zip([0, *ends], ends, strict=False)]
    packet = next(item for item in found if item is not None)[0]
    assert isinstance(packet, s.Startup)
    assert list(packet.parameters.items()) == list(params.items())


# -------------------------------------------------------------- protocol version


@pytest.mark.parametrize(
    ("minor", "names", "expected"),
    [
        (0, ["user"], (False, ())),
        (2, ["user"], (True, ())),
        (0, ["user", "_pq_.x"], (True, ("_pq_.x",))),
        (9, ["_pq_.x", "_pq_.y", "pq"], (True, ("_pq_.x", "_pq_.y"))),
    ],
)
def test_negotiate(
    minor: int, names: list[str], expected: tuple[bool, tuple[str, ...]]
) -> None:
    """A newer minor version or an extension needs an answer, with the names."""
    assert s.negotiate(minor, names) == expected


# ------------------------------------------------------------ startup parameters


def sort(*, ignore: tuple[str, ...] = (), **params: str) -> s.StartupFacts:
    """Return the facts of parameters next to a user."""
    return s.sort_parameters({"user": "bob", **params}, tracked=TRACKED, ignore=ignore)


def test_plain_login() -> None:
    """A login without any more has the user's name as its database."""
    assert sort() == s.StartupFacts(user="bob", database="bob")
    assert sort(database="").database == "bob"
    assert sort(database="shop").database == "shop"
    assert sort().application_name is None


def test_tracked_names_take_the_lists_spelling() -> None:
    """Case does not matter for tracked settings."""
    facts = sort(datestyle="ISO", TIMEZONE="UTC", application_name="app")
    assert facts.tracked == {
        "DateStyle": "ISO",
        "TimeZone": "UTC",
        "application_name": "app",
    }
    assert facts.application_name == "app"


def test_ignored_names_are_exact() -> None:
    """Case matters in ignore_startup_parameters."""
    assert sort(extra_float_digits="3", ignore=("extra_float_digits",)).tracked == {}
    with pytest.raises(errors.UnsupportedStartupParameter, match="Extra_float_digits"):
        sort(Extra_float_digits="3", ignore=("extra_float_digits",))


def test_extensions_are_left_alone() -> None:
    """Names that start with _pq_. are the business of the negotiation."""
    params = {"user": "bob", "_pq_.x": "1"}
    assert s.sort_parameters(params, tracked=TRACKED, ignore=()).tracked == {}


@pytest.mark.parametrize(
    ("params", "fault", "text"),
    [
        ({}, errors.NoUsername, "no username supplied"),
        ({"user": ""}, errors.NoUsername, "no username supplied"),
        (
            {"search_path": "x"},
            errors.UnsupportedStartupParameter,
            "unsupported startup parameter: search_path",
        ),
        (
            {"user": "b", "options": "-c foo=1"},
            errors.UnsupportedOption,
            "unsupported startup parameter in options: foo",
        ),
        ({"user": "b", "options": "-d 5"}, errors.UnsupportedOptionsForm, "only '-c"),
        ({"user": "b", "options": "-c"}, errors.UnsupportedOptionsForm, "only '-c"),
        ({"user": "b", "options": "-c a"}, errors.UnsupportedOptionsForm, "only '-c"),
        ({"user": "b", "options": "-c ="}, errors.UnsupportedOptionsForm, "only '-c"),
        ({"user": "b", "options": "-c=1"}, errors.UnsupportedOptionsForm, "only '-c"),
        ({"user": "b", "options": "--=a"}, errors.UnsupportedOptionsForm, "only '-c"),
        ({"user": "b", "options": "x"}, errors.UnsupportedOptionsForm, "only '-c"),
    ],
)
def test_unacceptable_parameters(
    params: dict[str, str], fault: type[errors.Fault], text: str
) -> None:
    """What cannot be honoured is refused, by name."""
    with pytest.raises(fault, match=text):
        s.sort_parameters(params, tracked=TRACKED, ignore=())


@pytest.mark.parametrize(
    ("options", "ignore", "tracked"),
    [
        ("", (), {}),
        ("-c timezone=UTC", (), {"TimeZone": "UTC"}),
        ("-cdatestyle=ISO", (), {"DateStyle": "ISO"}),
        ("--TimeZone=a=b", (), {"TimeZone": "a=b"}),
        (r"  -c  datestyle=ISO,\ MDY  ", (), {"DateStyle": "ISO, MDY"}),
        ("-c foo=1 --timezone=UTC", ("foo",), {"TimeZone": "UTC"}),
        ("-c foo=1 -c bar=2", ("options",), {}),
    ],
)
def test_options(
    options: str, ignore: tuple[str, ...], tracked: dict[str, str]
) -> None:
    """Settings inside options are tracked or ignored like those outside."""
    facts = sort(options=options, ignore=ignore)
    assert facts.tracked == tracked
    assert facts.options == options


def test_a_parameter_goes_before_the_options() -> None:
    """As to a server, whichever of the two stands first."""
    one, other = ("TimeZone", "Asia/Tokyo"), ("options", "-c timezone=Etc/GMT+1")
    for pairs in ((one, other), (other, one)):
        facts = s.sort_parameters(
            dict((("user", "joe"), *pairs)), tracked=TRACKED, ignore=()
        )
        assert facts.tracked == {"TimeZone": "Asia/Tokyo"}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a b", ["a", "b"]),
        (r"a\ b", ["a b"]),
        (r"a\\b", [r"a\b"]),
        (r"\ ", [" "]),
        ("\\", [""]),
        ("\t\n", []),
    ],
)
def test_split_options(value: str, words: list[str]) -> None:
    """Words end at blanks that no backslash protects."""
    assert s.split_options(value) == words


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("database", s.Replication.LOGICAL),
        *((word, s.Replication.PHYSICAL) for word in ("true", "T", "on", "1", "yes")),
        *((word, s.Replication.NONE) for word in ("false", "off", "0", "no", "o", "")),
        ("nonsense", s.Replication.NONE),
        ("Database", s.Replication.NONE),
    ],
)
def test_replication(value: str, expected: s.Replication) -> None:
    """The parameter is a word of its own, a boolean, or nothing."""
    assert sort(replication=value).replication is expected


def test_replication_passes_any_options_on() -> None:
    """A replication connection's options go to the server as they are."""
    facts = sort(options="-d 5 anything", replication="database")
    assert facts.options == "-d 5 anything"
    assert facts.tracked == {}


@given(st.dictionaries(name, value, max_size=4), st.text(max_size=20))
def test_sorting_raises_only_faults(params: dict[str, str], options: str) -> None:
    """Whatever the parameters, facts or a Fault come out."""
    with suppress(errors.Fault):
        s.sort_parameters(
            {**params, "options": options}, tracked=TRACKED, ignore=("a",)
        )
