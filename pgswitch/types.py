"""Small value types that every layer uses: enumerations and names, no behaviour."""

from __future__ import annotations

from enum import Enum, IntEnum, StrEnum
from typing import NamedTuple

CONSOLE_DATABASES = ("pgbouncer", "pgswitch")
"""Database names of the admin console."""

CONSOLE_USER = "pgbouncer"
"""Console user as whom the process's operating-system user may log in unasked."""


class PoolMode(IntEnum):
    """How long a client keeps a server connection; smaller is shorter."""

    STATEMENT = 0
    TRANSACTION = 1
    SESSION = 2

    def __str__(self) -> str:
        """Return the word that the configuration file and the console use."""
        return self.name.lower()


class AuthType(Enum):
    """How clients authenticate (the setting ``auth_type``)."""

    ANY = "any"
    TRUST = "trust"
    PLAIN = "plain"
    MD5 = "md5"
    CERT = "cert"
    HBA = "hba"
    LDAP = "ldap"
    PAM = "pam"
    SCRAM_SHA_256 = "scram-sha-256"

    def __str__(self) -> str:
        """Return the word that the configuration file and the console use."""
        return self.value


class Method(StrEnum):
    """How one client authenticates: an auth_type, or the method of an HBA line."""

    ANY = "any"
    TRUST = "trust"
    REJECT = "reject"
    PLAIN = "plain"
    MD5 = "md5"
    SCRAM_SHA_256 = "scram-sha-256"
    CERT = "cert"
    PEER = "peer"
    LDAP = "ldap"
    PAM = "pam"


class PoolKey(NamedTuple):
    """A pool's name: a ``[databases]`` entry and the user its servers log in as."""

    database: str
    user: str


class Address(NamedTuple):
    """One end of a socket; ``host`` is ``unix`` for a unix-domain socket."""

    host: str
    port: int
    pid: int = 0

    def __str__(self) -> str:
        """Return the text for log lines: ``1.2.3.4:5``, ``[::1]:5``, ``unix:5``."""
        if self.host == "unix":
            return f"unix({self.pid}):{self.port}" if self.pid else f"unix:{self.port}"
        if ":" in self.host:
            return f"[{self.host}]:{self.port}"
        return f"{self.host}:{self.port}"
