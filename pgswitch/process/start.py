"""The operating-system side of starting up: user, log, place, background.

Nothing here touches Twisted: forking must come before the reactor exists. The order
of the steps and their texts are PgBouncer's, so that scripts around it keep working.
"""

from __future__ import annotations

import os
import pwd
import resource
import socket
from typing import NoReturn

from pgswitch.auth.methods import preload
from pgswitch.config.effective import Effective
from pgswitch.config.model import Configuration, Settings
from pgswitch.errors.fatal import FatalError
from pgswitch.logs import Log
from pgswitch.net.sockets import unix_socket_path
from pgswitch.process.pidfile import Pidfile
from pgswitch.process.service_manager import environment, inherited_sockets
from pgswitch.rules.encodings import bring_codecs
from pgswitch.rules.registry import names_rules

_SPARE_DESCRIPTORS = 10
"""Descriptors besides clients and servers: log, listeners, the reactor's own."""


def claim(configuration: Configuration, user: str | None, log: Log) -> Pidfile | None:
    """Do the start-up steps between reading the file and becoming a daemon.

    :param user: operating-system user to become; ``None`` to stay.
    :return: the pid file, checked but not written yet; ``None`` if none is set.
    :raises FatalError: a step failed.
    """
    drop_privileges(configuration, user, log)
    return acquire_instance_lock(configuration.settings, log)


def drop_privileges(configuration: Configuration, user: str | None, log: Log) -> None:
    """Switch the user and open the log.

    :raises FatalError: a step failed.
    """
    settings = configuration.settings
    preload(settings)
    if user:
        if names_rules(configuration):
            bring_codecs()
        switch_user(user)
    refuse_root()
    try:
        configure_log(log, configuration)
    except OSError as error:
        _die(f"Cannot open logfile: '{settings.logfile}': {error.strerror}")


def acquire_instance_lock(settings: Settings, log: Log) -> Pidfile | None:
    """Make sure that no other process serves here.

    :return: the pid file, checked but not written yet; ``None`` if none is set.
    :raises FatalError: another does, or the pid file cannot be read.
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
    """Send the log where the settings say; at a reload, open its file anew.

    A line ``verbose`` in the file wins over ``-v`` on the command line.

    :raises OSError: the log file cannot be opened; the former one stays in use.
    """
    log.configure(configuration.settings)
    if "verbose" in configuration.set_names:
        log.verbosity = configuration.settings.verbose


def switch_user(name: str) -> None:
    """Become an operating-system user, with that user's groups.

    Does nothing if the process is that user already.

    :raises FatalError: there is no such user, or the system does not allow it.
    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        _die(f"could not find user '{name}' to switch to")
    if os.getuid() == os.geteuid() == entry.pw_uid:
        return
    _import_ahead()
    try:
        os.initgroups(name, entry.pw_gid)
    except OSError as error:
        _die(f"failed to reset groups: {error.strerror}")
    try:
        # The group first: afterwards we may no longer.
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except OSError as error:
        _die(f"failed to assume identity of user '{name}': {error.strerror}")


def _import_ahead() -> None:
    """Import what is needed later, since the new user may not be able to read it."""
    import encodings.idna  # noqa: F401, PLC0415 - looking up names imports it

    import OpenSSL.SSL  # noqa: F401, PLC0415 - so does telling its version
    import twisted.python.threadpool  # noqa: F401, PLC0415 - and the first thread


def refuse_root() -> None:
    """Raise :class:`FatalError` if the process has the rights of root."""
    if os.geteuid() == 0:
        # The reference's name stands in the text, since scripts look for it.
        _die("PgBouncer should not run as root")


def refuse_used_socket(path: str) -> None:
    """Raise :class:`FatalError` if somebody answers at a unix socket address."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # Whoever lets the queue of connections fill must not make us wait.
        probe.setblocking(False)  # noqa: FBT003 - its only argument
        try:
            probe.connect(path)
        except BlockingIOError:
            pass
        except OSError:
            return
    _die("unix socket is in use, cannot continue")


def daemonise(log: Log, pidfile: Pidfile | None) -> None:
    """Go to the background; only the background process returns.

    Standard streams end in ``/dev/null``; folder and umask stay as they are.

    :raises FatalError: no pid file is set, so nobody could find the process.
    """
    if pidfile is None:
        _die("daemon needs pidfile configured")
    log.quiet = True
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    if null > 2:  # noqa: PLR2004 - the last standard stream
        os.close(null)
    _leave_parent()
    os.setsid()
    # The second fork: a session's leader could get a terminal again.
    _leave_parent()


def descriptor_line(configuration: Configuration, users: int) -> str:
    """Return the log line that compares descriptors allowed and perhaps needed.

    :param users: how many users the auth file and ``[users]`` have together.
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


def _die(text: str) -> NoReturn:
    raise FatalError(text)
