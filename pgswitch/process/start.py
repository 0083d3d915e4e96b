"""The operating-system steps of the start: user, log, instance lock, daemon.

Nothing here imports Twisted: the fork must come before the reactor exists. The order
of the steps and their texts are PgBouncer's, so scripts written for it keep working.
"""

from __future__ import annotations

import os
import pwd
import resource
import socket

from pgswitch.auth.methods import preload
from pgswitch.config.effective import Effective
from pgswitch.config.model import Configuration, Settings
from pgswitch.errors.base import fatal
from pgswitch.logs import Log
from pgswitch.net.sockets import unix_socket_path
from pgswitch.process.pidfile import Pidfile
from pgswitch.process.service_manager import environment, inherited_sockets
from pgswitch.rules.encodings import preload_codecs
from pgswitch.rules.registry import names_rules

_SPARE_DESCRIPTORS = 10
"""Descriptors for everything but clients and servers: log, listeners, reactor."""


def claim(configuration: Configuration, user: str | None, log: Log) -> Pidfile | None:
    """Run the steps between reading the configuration and becoming a daemon.

    :param user: operating-system user to become; ``None`` for no change.
    :return: the pid file, checked but not written yet; ``None`` if none is set.
    :raises FatalError: a step failed.
    """
    drop_privileges(configuration, user, log)
    return acquire_instance_lock(configuration.settings, log)


def drop_privileges(configuration: Configuration, user: str | None, log: Log) -> None:
    """Switch to the given user, refuse to run as root, and open the log.

    :raises FatalError: a step failed.
    """
    settings = configuration.settings
    preload(settings)
    if user:
        if names_rules(configuration):
            preload_codecs()
        switch_user(user)
    refuse_root()
    try:
        configure_log(log, configuration)
    except OSError as error:
        fatal(f"Cannot open logfile: '{settings.logfile}': {error.strerror}")


def acquire_instance_lock(settings: Settings, log: Log) -> Pidfile | None:
    """Check that no other process serves at the unix socket or holds the pid file.

    :return: the pid file, checked but not written yet; ``None`` if none is set.
    :raises FatalError: another process does, or the pid file cannot be read.
    """
    if settings.unix_socket_dir and not inherited_sockets(environment()):
        refuse_used_socket(
            unix_socket_path(settings.unix_socket_dir, settings.listen_port)
        )
    if not settings.pidfile:
        return None
    pidfile = Pidfile(settings.pidfile, log)
    pidfile.check()
    return pidfile


def configure_log(log: Log, configuration: Configuration) -> None:
    """Open the log's destinations; at a reload, reopen its file.

    ``verbose`` in the configuration file overrides ``-v`` on the command line.

    :raises OSError: the log file cannot be opened; the previous one stays in use.
    """
    log.configure(configuration.settings)
    if "verbose" in configuration.set_names:
        log.verbosity = configuration.settings.verbose


def switch_user(name: str) -> None:
    """Become an operating-system user, with that user's groups.

    Does nothing if the process already runs as that user.

    :raises FatalError: the user does not exist, or the system does not allow it.
    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        fatal(f"could not find user '{name}' to switch to")
    if os.getuid() == os.geteuid() == entry.pw_uid:
        return
    _import_ahead()
    try:
        os.initgroups(name, entry.pw_gid)
    except OSError as error:
        fatal(f"failed to reset groups: {error.strerror}")
    try:
        # The group first: without root's rights it could not be changed.
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except OSError as error:
        fatal(f"failed to assume identity of user '{name}': {error.strerror}")


def _import_ahead() -> None:
    """Import what is needed later: the new user may not be able to read the files."""
    import encodings.idna  # noqa: F401, PLC0415 - looking up names imports it

    import OpenSSL.SSL  # noqa: F401, PLC0415 - so does telling its version
    import twisted.python.threadpool  # noqa: F401, PLC0415 - and the first thread


def refuse_root() -> None:
    """Raise :class:`FatalError` if the process runs as root."""
    if os.geteuid() == 0:
        # The text has PgBouncer's name because scripts look for it.
        fatal("PgBouncer should not run as root")


def refuse_used_socket(path: str) -> None:
    """Raise :class:`FatalError` if a process listens at a unix socket address."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A process with a full queue of connections must not make us wait.
        probe.setblocking(False)  # noqa: FBT003 - its only argument
        try:
            probe.connect(path)
        except BlockingIOError:
            pass
        except OSError:
            return
    fatal("unix socket is in use, cannot continue")


def daemonise(log: Log, pidfile: Pidfile | None) -> None:
    """Go to the background; only the background process returns.

    Standard streams become ``/dev/null``; working directory and umask do not change.

    :raises FatalError: no pid file is set; the process could not be found again.
    """
    if pidfile is None:
        fatal("daemon needs pidfile configured")
    log.quiet = True
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    if null > 2:  # noqa: PLR2004 - the last standard stream
        os.close(null)
    _leave_parent()
    os.setsid()
    # The second fork: a session leader could acquire a terminal again.
    _leave_parent()


def descriptor_line(configuration: Configuration, users: int) -> str:
    """Return the log line that compares the descriptor limit with the need.

    :param users: the number of users in the auth file and ``[users]`` together.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients = configuration.settings.max_client_conn
    effective = Effective(configuration)
    servers = 0
    for database in configuration.databases.values():
        size = effective.pool_size(database, database.user or "")
        servers += size if database.user else size * users
    expected = clients + _SPARE_DESCRIPTORS + servers
    return (
        f"kernel file descriptor limit: {soft} (hard: {hard});"
        f" max_client_conn: {clients}, max expected fd use: {expected}"
    )


def _leave_parent() -> None:
    if os.fork():
        os._exit(0)
