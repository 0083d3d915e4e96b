"""From the text of an HBA file to its rules, and the lines that are none.

A line that is not understood is left out and told of, the others hold, as in
PgBouncer.  Beside what that knows there are samehost, samenet, host names, regular
expressions (``/...``), pam, and the include directives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from pgswitch.auth.hba import (
    PAM_SERVICE,
    AddressMatch,
    AuthRequirement,
    ConnectionType,
    HbaRule,
    IpAddress,
    NameList,
    Network,
    SameNet,
)
from pgswitch.auth.ident import (
    IdentMap,
    Token,
    TokenGroup,
    TokenizeError,
    logical_lines,
    tokenize,
)
from pgswitch.auth.ldap import LdapOptionsError, parse_ldap
from pgswitch.types import Method

_IPV4_BITS: Final = 32
_MAPPED_PREFIX: Final = (1 << 96) - 1
"""The bits of a mask before those of an IPv4 address inside IPv6, all of them set."""

NESTING_LIMIT: Final = 10
"""How deep files may include each other."""

_METHODS: Final = MappingProxyType(
    {
        "trust": Method.TRUST,
        "reject": Method.REJECT,
        "password": Method.PLAIN,
        "md5": Method.MD5,
        "scram-sha-256": Method.SCRAM_SHA_256,
        "cert": Method.CERT,
        "peer": Method.PEER,
        "ldap": Method.LDAP,
        "pam": Method.PAM,
    }
)
_MAPPED: Final = (Method.CERT, Method.PEER)
"""Methods that an ident map goes with."""

_HOST_NAME: Final = re.compile(r"\.?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")

ReadFile = Callable[[str], str]
"""Returns the text of a file, or raises OSError."""


class HbaProblem(NamedTuple):
    """A line that is left out: the file, the line number, and why."""

    path: str
    line: int
    reason: str


@dataclass(slots=True)
class HbaFile:
    """The content of a file and of those that it includes."""

    rules: list[HbaRule] = field(default_factory=list)
    problems: list[HbaProblem] = field(default_factory=list)


def read_hba(path: str, read: ReadFile, maps: Mapping[str, IdentMap]) -> HbaFile:
    """Return the rules of a file and of those it includes.

    Raises OSError if the file itself cannot be read.
    """
    reader = _FileReader(read, maps)
    reader.take(path, read(path), 0)
    return reader.found


class _FileReader:
    """Reads files that include each other."""

    def __init__(self, read: ReadFile, maps: Mapping[str, IdentMap]) -> None:
        self.found = HbaFile()
        self.read = read
        self.maps = maps

    def take(self, path: str, text: str, depth: int) -> None:
        """Read one file."""
        for number, line in logical_lines(text):
            try:
                parts = tokenize(line)
                if parts and _is_include(parts[0]):
                    for inner, content in _included(parts, path, self.read, depth):
                        self.take(inner, content, depth + 1)
                elif parts:
                    reader = _LineReader(number, line, parts, self.beside(path))
                    self.found.rules.append(reader.rule(self.maps))
                    self._note(path, number, reader.complaint)
            except (TokenizeError, OSError, re.error) as error:
                self._note(path, number, _reason(error))

    def _note(self, path: str, line: int, reason: str) -> None:
        if reason:
            self.found.problems.append(HbaProblem(path, line, reason))

    def beside(self, path: str) -> ReadFile:
        """Return a function that reads files relative to the folder of ``path``."""
        return lambda name: self.read(str(Path(path).parent / name))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _is_include(first: TokenGroup) -> bool:
    return first[0].is_keyword("include", "include_if_exists", "include_dir")


def _included(
    parts: list[TokenGroup], path: str, read: ReadFile, depth: int
) -> Iterator[tuple[str, str]]:
    """Yield path and text of each file that an include directive names."""
    if len(parts) != len(("include", "file")):
        raise TokenizeError("an include directive names one file or folder")
    if depth >= NESTING_LIMIT:
        raise TokenizeError("include nesting level too deep")
    directive, target = parts[0][0].text, Path(path).parent / parts[1][0].text
    if directive == "include_dir":
        for inner in sorted(target.glob("*.conf")):
            if not inner.name.startswith("."):
                yield str(inner), read(str(inner))
        return
    try:
        yield str(target), read(str(target))
    except FileNotFoundError:
        if directive == "include":
            raise


class _LineReader:
    """Reads one line, field by field."""

    def __init__(
        self,
        number: int,
        line: str,
        parts: list[TokenGroup],
        read: ReadFile,
    ) -> None:
        self._number = number
        self._line = line
        self._parts = list(reversed(parts))
        self._read = read
        self.complaint = ""
        """What is wrong with a line that we keep all the same, as a rejection."""

    def rule(self, maps: Mapping[str, IdentMap]) -> HbaRule:
        """Return the rule; raises TokenizeError, OSError or re.error."""
        connection = self._connection()
        databases = self._names("database")
        users = self._names("user")
        is_local = connection is ConnectionType.LOCAL
        address = None if is_local else self._address()
        word = self._one("method")
        method = _METHODS.get(word.text)
        if method is None:
            raise TokenizeError(f"unknown method: {word.text}")
        if method is Method.CERT and connection in (
            ConnectionType.LOCAL,
            ConnectionType.HOSTNOSSL,
        ):
            self.complaint = "cert needs TLS, nobody can log in by this line"
        return HbaRule(
            line=self._number,
            connection=connection,
            databases=databases,
            users=users,
            address=address,
            requirement=self._requirement(method, self._line[word.end :].strip(), maps),
        )

    def _requirement(
        self, method: Method, rest: str, maps: Mapping[str, IdentMap]
    ) -> AuthRequirement:
        """Return the authentication that the rest of the line asks for."""
        if method is Method.LDAP:
            try:
                return AuthRequirement(
                    method=method, ldap=parse_ldap(rest) if rest else None
                )
            except LdapOptionsError as error:
                # The clients of this line are known, and must not match the next one.
                self.complaint = str(error)
                return AuthRequirement(method=Method.REJECT)
        options = self._options(method)
        return AuthRequirement(
            method=method,
            ident=_map(maps, options.get("map")),
            service=options.get("pamservice", PAM_SERVICE),
        )

    def _next(self, what: str) -> TokenGroup:
        if not self._parts:
            raise TokenizeError(f"no {what}")
        return self._parts.pop()

    def _one(self, what: str) -> Token:
        words = self._next(what)
        if len(words) != 1:
            raise TokenizeError(f"more than one {what}")
        return words[0]

    def _connection(self) -> ConnectionType:
        word = self._one("type")
        try:
            return ConnectionType(word.text)
        except ValueError:
            raise TokenizeError(f"unknown type: {word.text}") from None

    def _names(self, what: str) -> NameList:
        everything = same_user = replication = False
        names: set[str] = set()
        patterns: list[re.Pattern[str]] = []
        for word in self._expanded(self._next(what), 0):
            if word.is_keyword("all"):
                everything = True
            elif word.is_keyword("sameuser"):
                same_user = True
            elif word.is_keyword("replication"):
                replication = True
            elif word.is_keyword("samerole", "samegroup"):
                raise TokenizeError(f"{word.text} is not supported")
            elif not word.is_quoted and word.text.startswith("+"):
                raise TokenizeError("groups of users (+name) are not supported")
            elif not word.is_quoted and word.text.startswith("/"):
                patterns.append(re.compile(word.text[1:]))
            else:
                names.add(word.text)
        return NameList(
            everything=everything,
            same_user=same_user,
            replication=replication,
            names=frozenset(names),
            patterns=tuple(patterns),
        )

    def _expanded(self, words: TokenGroup, depth: int) -> Iterator[Token]:
        """Yield the words, with those of the file in place of ``@file``."""
        for word in words:
            if word.is_quoted or not word.text.startswith("@"):
                yield word
                continue
            if depth >= NESTING_LIMIT:
                raise TokenizeError("include nesting level too deep")
            for line in self._read(word.text[1:]).split("\n"):
                for part in tokenize(line):
                    yield from self._expanded(part, depth + 1)

    def _address(self) -> AddressMatch:
        word = self._one("address")
        if word.is_keyword("all"):
            return AddressMatch(everywhere=True)
        if word.is_keyword("samehost", "samenet"):
            return AddressMatch(same_net=SameNet(word.text))
        network = self._network(word.text)
        if network is not None:
            return AddressMatch(network=network)
        if _HOST_NAME.fullmatch(word.text) is None:
            raise TokenizeError(f"neither an address nor a host name: {word.text}")
        return AddressMatch(host=word.text)

    def _network(self, text: str) -> Network | None:
        """Return address and mask, None for a text that is no address."""
        base, slash, bits = text.partition("/")
        try:
            address = ip_address(base)
        except ValueError:
            if slash:
                raise TokenizeError(f"not an address: {text}") from None
            return None
        size = address.max_prefixlen
        if not slash:
            mask = self._one("mask").text
            try:
                found = ip_address(mask)
            except ValueError:
                raise TokenizeError(f"not a mask: {mask}") from None
            if found.version != address.version:
                raise TokenizeError(f"a mask of another kind: {mask}")
            return self._as_seen(address, int(found))
        if not bits.isascii() or not bits.isdigit() or int(bits) > size:
            raise TokenizeError(f"not a number of bits: {bits}")
        return self._as_seen(address, (1 << size) - (1 << (size - int(bits))))

    def _as_seen(self, address: IpAddress, mask: int) -> Network:
        """Return a network in the form that clients' addresses have.

        An IPv4 address inside IPv6 (``::ffff:10.0.0.1``) counts as IPv4, so an IPv6
        network that contains more than those does not match them.
        """
        mapped = getattr(address, "ipv4_mapped", None)
        if mapped is None:
            return address, mask
        if mask >> _IPV4_BITS != _MAPPED_PREFIX:
            self.complaint = (
                f"{address} with so few bits is no IPv4 network:"
                " no client that comes by IPv4 fits this line"
            )
            return address, mask
        return mapped, mask & ((1 << _IPV4_BITS) - 1)

    def _options(self, method: Method) -> dict[str, str]:
        """Return the options by name; raises TokenizeError for unknown ones."""
        allowed = ("map",) if method in _MAPPED else ()
        if method is Method.PAM:
            allowed = ("pamservice",)
        options: dict[str, str] = {}
        while self._parts:
            word = self._one("value of an option")
            name, equals, value = word.text.partition("=")
            if not equals or name not in allowed:
                raise TokenizeError(f"unknown option: {name}")
            options[name] = value
        return options


def _map(maps: Mapping[str, IdentMap], name: str | None) -> IdentMap | None:
    if name is None:
        return None
    if name not in maps:
        raise TokenizeError(f"unknown ident map: {name}")
    return maps[name]
