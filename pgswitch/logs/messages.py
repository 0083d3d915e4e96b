"""The log lines that an operator may want an alert for: one table.

``python -m pgswitch.reference`` makes docs/reference/log.md of it.  A text is what the
code writes, with ``{names}`` for what varies; lines about one connection have its
prefix before it (``C-0x7f...: db/user@10.0.0.9:40112``).  A test looks each text up in
the source, and each place that logs at WARNING or above in this table.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class LogMessage(NamedTuple):
    """A log line: its level and text, what it means, what to do about it."""

    level: str
    text: str
    meaning: str
    remedy: str


FATAL, ERROR, WARNING, LOG = "FATAL", "ERROR", "WARNING", "LOG"

NO_START: Final = (
    LogMessage(
        FATAL,
        "cannot load config file",
        "The configuration has errors; the lines before name each of them.",
        "Correct the file; `pgswitch check` finds all errors.",
    ),
    LogMessage(
        FATAL,
        "cannot set up authentication",
        "The HBA or ident file cannot be used.",
        "Correct the file named in the line before.",
    ),
    LogMessage(
        FATAL,
        "cannot load auth_file",
        "auth_file is missing or has errors.",
        "Correct the file named in the line before.",
    ),
    LogMessage(
        FATAL,
        "cannot load rules",
        "A file of routing or rewriting functions cannot be loaded.",
        "Correct the file; `pgswitch rules` tries it.",
    ),
    LogMessage(
        FATAL,
        "TLS setup failed",
        "Keys or certificates cannot be used; the line before says why.",
        "Correct the `client_tls_*` or `server_tls_*` settings or the files.",
    ),
    LogMessage(
        FATAL,
        "failed to listen on any address in listen_addr list: {addresses}",
        "None of the addresses can be used.",
        "Free the port, or change `listen_addr` or `listen_port`.",
    ),
    LogMessage(
        FATAL,
        "pidfile '{path}' exists, another instance running?",
        "Another process has the pid file.",
        "Stop that process, or give each its own `pidfile`.",
    ),
    LogMessage(
        FATAL,
        "takeover failed: {reason}",
        "`-R` could not take over; the old process continues.",
        "Act on the reason, then try again.",
    ),
    LogMessage(
        FATAL,
        "getaddrinfo('{host}', '{port}') = {reason}",
        "A name in `listen_addr` is unknown.",
        "Correct it.",
    ),
    LogMessage(
        FATAL,
        "nowhere to listen on",
        "Both `listen_addr` and `unix_socket_dir` are empty.",
        "Set one of them.",
    ),
    LogMessage(
        FATAL,
        "failed to create unix socket",
        "The socket file cannot be created; the line before says why.",
        "Make `unix_socket_dir` writable.",
    ),
    LogMessage(
        FATAL,
        "unix port {port} is in use",
        "A PostgreSQL server has the socket file of this port.",
        "Change `listen_port` or `unix_socket_dir`.",
    ),
    LogMessage(
        FATAL,
        "unix socket is in use, cannot continue",
        "Another process answers at the unix socket.",
        "Stop it, or change `unix_socket_dir`.",
    ),
    LogMessage(
        FATAL,
        "socket passed from service manager (fd {fd}): {reason}",
        "A descriptor from systemd is not a usable socket.",
        "Correct the socket unit.",
    ),
    LogMessage(
        FATAL,
        "pidfile '{path}': {reason}",
        "The pid file cannot be read, written or removed.",
        "Make its directory writable, or change `pidfile`.",
    ),
    LogMessage(
        FATAL,
        "daemon needs pidfile configured",
        "`-d` without `pidfile`.",
        "Set `pidfile`.",
    ),
    LogMessage(
        FATAL,
        "Cannot open logfile: '{path}': {reason}",
        "`logfile` cannot be opened.",
        "Make it writable for the user of the process.",
    ),
    LogMessage(
        FATAL,
        "PgBouncer should not run as root",
        "pgswitch refuses to run as root.",
        "Start it as another user, or set `user`.",
    ),
    LogMessage(
        FATAL,
        "could not find user '{user}' to switch to",
        "The user of `user` or `-u` does not exist.",
        "Correct the name.",
    ),
    LogMessage(
        FATAL,
        "failed to assume identity of user '{user}': {reason}",
        "The process may not become this user.",
        "Start it as root or as that user.",
    ),
    LogMessage(
        FATAL,
        "failed to reset groups: {reason}",
        "The process may not change its groups.",
        "Start it as root or as that user.",
    ),
    LogMessage(
        FATAL,
        "takeover refused: {reason}",
        "`-R` does not trust the socket of the old process.",
        "Run both as the same user, with the socket in a directory of their own.",
    ),
    LogMessage(
        FATAL,
        "takeover was in progress, going down immediately",
        "A signal ended the new process during `-R`; the old process continues.",
        "Try again.",
    ),
    LogMessage(
        FATAL,
        "cannot reboot if unix dir not configured",
        "`-R` needs the unix socket of the old process.",
        "Set `unix_socket_dir`.",
    ),
    LogMessage(
        FATAL,
        "cannot reboot under service manager",
        "`-R` does not work with sockets from systemd.",
        "Restart, or run several processes with `so_reuseport`.",
    ),
    LogMessage(
        FATAL,
        "cannot reboot with abstract Unix socket",
        "`-R` does not work with an abstract `unix_socket_dir`.",
        "Use a directory.",
    ),
    LogMessage(
        FATAL,
        "cannot open the manhole: {reason}",
        "The socket of the Python shell cannot be opened.",
        "Free the address, or change `manhole_socket` or `manhole_ssh`.",
    ),
    LogMessage(
        FATAL,
        "manhole_ssh needs {what}",
        "A setting or package for the shell over SSH is missing.",
        "Set it, or install it.",
    ),
    LogMessage(
        FATAL,
        "manhole_ssh: {reason}",
        "A key file of the shell over SSH cannot be used.",
        "Correct the file.",
    ),
    LogMessage(
        FATAL,
        "manhole_ssh must be a loopback address and a port, not '{text}'",
        "The shell over SSH listens on the loopback interface only.",
        "Write `127.0.0.1:2222`, for example.",
    ),
)
START: Final = (
    LogMessage(
        ERROR,
        "TLS setup failed: {reason}",
        "Keys or certificates cannot be used. At startup the process ends; at a reload"
        " the old ones stay in force; a server that needs them is not connected to.",
        "Correct the `client_tls_*` or `server_tls_*` settings or the files.",
    ),
    LogMessage(
        ERROR,
        "TLS configuration could not be reloaded, keeping old configuration",
        "The reload applied everything else; TLS stays as before.",
        "Correct the files named in the line before, then `RELOAD`.",
    ),
    LogMessage(
        ERROR,
        "cannot listen on {address}: {reason}",
        "The unix socket cannot be opened; the process ends.",
        "Free the address, or change `unix_socket_dir`.",
    ),
    LogMessage(
        WARNING,
        "cannot listen on {address}: {reason}",
        "One of several addresses cannot be used; the others are.",
        "Free the address, or change `listen_addr` or `listen_port`.",
    ),
    LogMessage(
        WARNING,
        "Online restart is deprecated, use so_reuseport instead",
        "`-R` is in use; PgBouncer says the same.",
        "Nothing, or run several processes with `so_reuseport`.",
    ),
    LogMessage(
        WARNING,
        "sockets passed from service manager, cf_{setting} ignored",
        "systemd passes the listening sockets, so the setting has no effect.",
        "Remove the setting, or the socket unit.",
    ),
    LogMessage(
        WARNING,
        "config file loading failed",
        "A reload found errors, named in the lines before; nothing has changed.",
        "Correct the file, then `RELOAD`.",
    ),
    LogMessage(
        ERROR,
        "could not open log file {path}: {reason}",
        "A reload or SIGHUP cannot open `logfile`; lines go where they went before.",
        "Make the file writable, then `RELOAD`.",
    ),
    LogMessage(
        ERROR,
        "could not open auth_file {path}: {reason}",
        "The users cannot be read again and stay as they are.",
        "Make the file readable.",
    ),
    LogMessage(
        ERROR,
        "{reason}, keeping the users of before",
        "No line of auth_file is valid, or the file ends within a line.",
        "Write the file again, best under another name, and rename it.",
    ),
    LogMessage(
        WARNING,
        "dropping database '{database}' as it does not exist anymore or inactive"
        " auto-database",
        "A reload removed the database: its clients are disconnected. Or an automatic"
        " database was not used for `autodb_idle_timeout`.",
        "Nothing, if that was intended.",
    ),
    LogMessage(
        LOG,
        "{count} log lines could not be written: {reason}",
        "A disk or pipe was full, and lines were dropped.",
        "Free some space, or read the pipe faster.",
    ),
)
LOGINS: Final = (
    LogMessage(
        WARNING,
        "pooler error: {text}",
        "A client got this error from pgswitch.",
        "Look the text up in the [errors](errors.md).",
    ),
    LogMessage(
        ERROR,
        "auth_type=any requires forced user",
        "Logins to this database are refused: `auth_type = any` needs `user=` on its"
        " line.",
        "Add `user=`, or change `auth_type`.",
    ),
    LogMessage(
        ERROR,
        "auth_type={method} goes with no auth_user.",
        "Logins to this database are refused: it has an `auth_user`, which this"
        " `auth_type` does not use.",
        "Remove `auth_user`, or change `auth_type`.",
    ),
    LogMessage(
        ERROR,
        'authentication database "{database}" is not configured.',
        "`auth_dbname` names no database, so no login with `auth_query` works.",
        "Add the database to `[databases]`, or change `auth_dbname`.",
    ),
    LogMessage(
        ERROR,
        'cannot use the reserved "{database}" database as an auth_dbname',
        "`auth_query` cannot run on the console.",
        "Change `auth_dbname`.",
    ),
    LogMessage(
        ERROR,
        "error in auth_query: {error}",
        "The server refused `auth_query`, and the login failed.",
        "Correct the query or the rights of `auth_user`.",
    ),
    LogMessage(
        WARNING,
        "{kind} queue is full",
        "So many logins wait for PAM, a directory or the check of a password that more"
        " are refused (53300).",
        "Find out why the directory is slow, or who opens so many connections.",
    ),
    LogMessage(
        LOG,
        "no such user: {user}",
        "A login with an unknown user; the client is told that the password is wrong.",
        "If there are many, someone is guessing, or `auth_file` lacks a user.",
    ),
    LogMessage(
        WARNING,
        "manhole: refused user id {uid}, process {pid}",
        "Another operating-system user tried to open the shell.",
        "Find out who.",
    ),
)
SERVERS: Final = (
    LogMessage(
        WARNING,
        "server login failed: {severity} {text}",
        "A server refused our login, in its own words.",
        "Act on the text; `SHOW ERRORS` counts how many clients got it.",
    ),
    LogMessage(
        WARNING,
        "TLS failed: {reason}",
        "A server closed the connection after the TLS handshake, mostly because it does"
        " not accept our certificate.",
        "Correct `server_tls_cert_file`.",
    ),
    LogMessage(
        WARNING,
        "TLS handshake failed: {reason}",
        "No TLS with a server: its certificate is not trusted, or nothing is offered"
        " that both accept.",
        "Correct `server_tls_*`, or the certificate of the server.",
    ),
    LogMessage(
        WARNING,
        "server refused SSL",
        "The server does not offer TLS, but `server_tls_sslmode` demands it.",
        "Set `ssl = on` on the server, or relax `server_tls_sslmode`.",
    ),
    LogMessage(
        WARNING,
        "DNS lookup failed: {reason}",
        "The host of a database has no address; clients wait or get an error.",
        "Correct the name, or the name server.",
    ),
    LogMessage(
        WARNING,
        "taking connection from reserve_pool",
        "Clients have waited longer than `reserve_pool_timeout`.",
        "If this is frequent, make the pool larger.",
    ),
    LogMessage(
        ERROR,
        "error while executing exec_on_query: {error}",
        "`connect_query` failed; the server is used all the same.",
        "Correct the query.",
    ),
    LogMessage(
        ERROR,
        "varcache_apply failed: {error}",
        "A server refused the parameters of a client; the client is disconnected.",
        "Correct the parameter in the connection string of the client.",
    ),
    LogMessage(
        ERROR,
        "server breaks the protocol: {reason}",
        "What answers there is not PostgreSQL, or a new version of it.",
        "Check host and port.",
    ),
    LogMessage(
        WARNING,
        "got packet '{type}' from server when not linked",
        "A server that no client was using sent something; if that was an answer, the"
        " level is ERROR and the server is closed.",
        "Nothing, if the server was stopped at that moment.",
    ),
    LogMessage(
        ERROR,
        "got packet '{type}' from server when nothing was asked",
        "A server sent an answer without a request; it is closed.",
        "Check that it is PostgreSQL that answers there.",
    ),
    LogMessage(
        ERROR,
        "server refutes its prepared statements",
        "A server lacks statements that were prepared on it, or has others: a function"
        " may have dropped them. It is closed at its next release.",
        "Nothing, if it is rare.",
    ),
    LogMessage(
        LOG,
        "server lost ({reason}): {outcome}",
        "A client lost its server; the line says what became of its work.",
        "Look at the server, or at the switchover.",
    ),
    LogMessage(
        LOG,
        "server lost ({reason}), {verdict}: {outcome}: {statements}",
        "A statement lost its server and ran again on another; the client noticed"
        " nothing.",
        "Nothing.",
    ),
)
CLUSTERS: Final = (
    LogMessage(
        WARNING,
        "cluster {name}: {what}: {cause}",
        "`the writer ... is lost` or `no writer`: clients that write wait from now on.",
        "Nothing, if a switchover is in progress.",
    ),
    LogMessage(
        WARNING,
        "cluster {name}: no writer, {count} clients wait, the longest for {seconds} s"
        " ({doubts})",
        "There has been no writer for some time; the line says why.",
        "Promote a node, or make the old writer reachable.",
    ),
    LogMessage(
        LOG,
        "cluster {name}: the writer is {node} ({host}:{port}): {cause}",
        "A writer was found; clients that wait are served.",
        "Nothing.",
    ),
    LogMessage(
        LOG,
        "cluster {name}: clients are served by {node}",
        "The first server of the new writer is ready: the switchover is over.",
        "Nothing; `SHOW SWITCHOVERS` has the times.",
    ),
    LogMessage(
        WARNING,
        "cluster {name}: {node} is fenced: {cause}",
        "The node is not used before it follows the writer: another was promoted, or"
        " both take writes.",
        "Stop the node, and have it follow the writer (pg_rewind).",
    ),
    LogMessage(
        WARNING,
        "cluster {name}: clients are served by the configured host: {cause}",
        "No node can tell which is the writer, so pgswitch serves clients as without a"
        " cluster.",
        "Act on the cause.",
    ),
    LogMessage(
        WARNING,
        "cannot be asked",
        "The health check of a node fails (after `cluster ...: node`); the reason"
        " follows. It is repeated every 60 s.",
        "Act on the reason.",
    ),
    LogMessage(
        WARNING,
        "cluster {name}: RECONNECT: the last writer, {node}, and its timeline"
        " ({timeline}) are forgotten",
        "An admin had the cluster look for a writer without regard to the last one.",
        "Nothing.",
    ),
    LogMessage(
        WARNING,
        "cluster {name}: {what}; the nodes stay as they are",
        "`topology_query` failed or named no usable node.",
        "Correct the query, or the rights of the user.",
    ),
    LogMessage(
        ERROR,
        "switchover_record: {reason}",
        "The file of `switchover_record` cannot be written.",
        "Make it writable, or remove the setting.",
    ),
)
RULES: Final = (
    LogMessage(
        ERROR,
        "{function} returned nonexistent database key {key}: check [databases]; the"
        " client stays where it is",
        "A routing function named a database that does not exist.",
        "Correct the function, or add the database.",
    ),
    LogMessage(
        ERROR,
        "(limit rules_slow_ms = {limit})",
        "A function took longer than `rules_slow_ms`; all clients waited for it.",
        "Make the function faster, or `async` if it waits for something.",
    ),
    LogMessage(
        ERROR,
        "cancelling a rule failed: {reason}",
        "An `async` function raised an exception when its client left.",
        "Correct the function.",
    ),
)
OURSELVES: Final = (
    LogMessage(
        ERROR,
        "accept() failed: {reason}",
        "No connection can be accepted for a moment; mostly there are no more file"
        " descriptors.",
        "Raise the limit of open files (`LimitNOFILE`), or lower `max_client_conn`.",
    ),
    LogMessage(
        ERROR,
        "setsockopt() failed: {reason}",
        "A `tcp_*` setting cannot be applied to a connection.",
        "Correct the setting.",
    ),
    LogMessage(
        ERROR,
        "cannot serve a new connection: {error}",
        "A fault of pgswitch: one client could not be accepted.",
        "Report it.",
    ),
    LogMessage(
        ERROR,
        "login: {error}",
        "A fault of pgswitch: one login failed.",
        "Report it.",
    ),
    LogMessage(
        ERROR,
        "console: {error}",
        "A fault of pgswitch: a console command failed.",
        "Report it.",
    ),
    LogMessage(
        ERROR,
        "upkeep failed: {error}",
        "A fault of pgswitch in its timer, which continues.",
        "Report it.",
    ),
    LogMessage(
        ERROR,
        "upkeep of {pool} failed: {error}",
        "A fault of pgswitch in its timer, for one pool; the timer continues.",
        "Report it.",
    ),
    LogMessage(
        ERROR,
        "has been waiting for {what} for {seconds} s, twice as long as it may",
        "A fault of pgswitch: a client was forgotten.",
        "Report it; `KILL_CLIENT` ends the client.",
    ),
    LogMessage(
        ERROR,
        "lookup of {host}: {error}",
        "A fault of pgswitch while it resolved a name.",
        "Report it.",
    ),
    LogMessage(
        ERROR,
        "cannot send descriptors: {reason}",
        "A takeover (`-R`) failed; this process continues.",
        "Try again.",
    ),
    LogMessage(
        ERROR,
        "while closing: {error}",
        "A fault of pgswitch while it ended.",
        "Report it.",
    ),
)

MESSAGES: Final = {
    "Lines that end the process": NO_START,
    "Start, reload, log": START,
    "Clients and logins": LOGINS,
    "Servers": SERVERS,
    "Clusters": CLUSTERS,
    "Rules": RULES,
    "pgswitch itself": OURSELVES,
}
"""All of them, by subject."""
