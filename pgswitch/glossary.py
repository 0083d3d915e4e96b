"""The glossary, docs/glossary.md: terms, folders, and the classes of the main paths.

What a class is stands in the first line of its docstring, and nowhere else;
``python -m pgswitch.reference`` collects those lines.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PACKAGE: Final = Path(__file__).parent

FOLDERS: Final = (
    "relay",
    "net",
    "tls",
    "pool",
    "cluster",
    "auth",
    "rules",
    "takeover",
)
"""Those whose public classes the glossary lists, and of wire/ these files:"""
WIRE: Final = (
    "client_auth.py",
    "server_auth.py",
    "exchange.py",
    "framing.py",
    "params.py",
    "prepared.py",
    "scram.py",
    "startup.py",
    "statements.py",
)

_HEAD: Final = """\
# Glossary

{generated}
One word means one thing in the code, the log and these documents. The last column has
what PgBouncer or the PostgreSQL manual call it, where that is another word.

## Terms

{terms}
## Folders of `pgswitch/`

{folders}
"""

TERMS: Final = (
    ("client", "a connection from an application to pgswitch", "client, CL_*"),
    ("server", "a connection from pgswitch to PostgreSQL", "server, SV_*"),
    ("link", "the pairing of a client with the server that it holds", "link"),
    ("pool", "the servers of one database for one user, and its clients", "pool"),
    ("checkout, release", "a client gets a server; the server comes back", ""),
    (
        "console",
        "the database `pgbouncer` that answers SHOW and commands",
        "admin console",
    ),
    ("generation", "servers opened before RECONNECT belong to an older one", ""),
    ("exchange", "the requests of a client that its server has yet to answer", ""),
    ("stream", "the bytes of one socket, as the hot path sees them", "sbuf"),
    ("cluster", "the nodes of one `[databases]` entry with a topology_query", ""),
    ("node", "one PostgreSQL server (the program) of a cluster", "server"),
    ("writer", "the node that takes writes", "primary"),
    ("reader, standby", "a node in recovery", "standby"),
    (
        "switchover",
        "the writer moves to another node, planned or after a crash",
        "failover",
    ),
    ("fenced", "takes writes, but is not the writer: no client gets there", ""),
    ("probe", "a question of the monitor to one node", ""),
    (
        "takeover",
        "a new process goes on with the sockets of the old one",
        "online restart, -R",
    ),
    ("rule", "a Python function of the user that routes or rewrites queries", ""),
    ("fault", "an error that a client gets: a class in `errors/`", "ErrorResponse"),
)

OTHER_WORDS: Final = {
    "Frontend": "frontend (manual); PgSocket of a client",
    "Backend": "backend (manual); PgSocket of a server",
    "ServerPool": "PgPool",
    "ClientStream": "sbuf of a client",
    "ServerStream": "sbuf of a server",
    "IdlePool": "idle_server_list, waiting_client_list",
    "ServerConnections": "server lists of PgPool",
    "ServerState": "SV_*",
    "Janitor": "janitor",
    "ParameterSync": "varcache",
    "ServerRelease": "release_server, server_reset_query",
    "StatementTable": "prepared statement cache",
    "TcpTransport": "ITCPTransport (Twisted)",
    "ClientState": "CL_* of PgSocket",
    "ClientAuthenticator": "client login, CL_LOGIN",
    "ServerAuthenticator": "server login, SV_LOGIN",
    "ScramServer": "SASL exchange (RFC 5802)",
    "ScramClient": "SASL exchange (RFC 5802)",
    "Welcome": "welcome_msg",
    "CancelKeys": "BackendKeyData",
    "TakeoverExporter": "SHOW FDS",
    "Acceptor": "IListeningPort (Twisted)",
    "FrontendFactory": "IProtocolFactory (Twisted)",
    "BackendFactory": "IProtocolFactory (Twisted)",
    "ClientTls": "IOpenSSLServerConnectionCreator (Twisted)",
    "Encryption": "IOpenSSLClientConnectionCreator (Twisted)",
    "SocketIO": "IPullProducer (Twisted)",
    "TransportIO": "IPushProducer (Twisted)",
}


def glossary_page(generated: str) -> str:
    """Return the page; ``generated`` is the remark that says where it comes from."""
    parts = [
        _HEAD.format(
            generated=generated,
            terms=table(("term", "what it is", "elsewhere"), TERMS),
            folders=table(("folder", "what lives there"), _folders()),
        )
    ]
    for folder, rows in classes().items():
        head = ("class", "what it is", "where", "elsewhere")
        parts.append(f"## Classes of `{folder}/`\n\n" + table(head, rows))
    return "\n".join(parts).replace("\n\n\n", "\n\n")


def classes() -> dict[str, list[tuple[str, ...]]]:
    """Return the rows of the public classes, by folder."""
    files = {folder: sorted((PACKAGE / folder).glob("*.py")) for folder in FOLDERS}
    files["wire"] = [PACKAGE / "wire" / name for name in WIRE]
    return {
        folder: [row for path in paths for row in _classes_of(path)]
        for folder, paths in files.items()
    }


def _classes_of(path: Path) -> Iterator[tuple[str, ...]]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            words = _cell((ast.get_docstring(node) or "").partition("\n\n")[0])
            yield (
                f"`{node.name}`",
                words,
                f"`{path.parent.name}/{path.name}`",
                OTHER_WORDS.get(node.name, ""),
            )


def _folders() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("__init__.py")):
        folder = path.parent.relative_to(PACKAGE).as_posix()
        if folder != ".":
            docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
            yield f"`{folder}/`", _cell((docstring or "").partition("\n\n")[0])


def _cell(text: str) -> str:
    return " ".join(text.replace("``", "`").replace("|", r"\|").split())


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table of Markdown; cells are escaped already."""
    lines = (head, ("---",) * len(head), *rows)
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)
