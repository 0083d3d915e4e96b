"""The operating-system side of starting up: user, pid file, daemon, systemd.

Nothing here touches Twisted: forking must come before the reactor exists. The order
of the steps and their texts are PgBouncer's, so that scripts around it keep working.
"""

from __future__ import annotations

import errno
import os
import platform
import pwd
import resource
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from pgswitch import __version__
from pgswitch.auth.checks import bring_libraries
from pgswitch.config.effective import Effective
from pgswitch.config.model import Configuration, Settings
from pgswitch.fatal import FatalError
from pgswitch.hotpath import is_compiled
from pgswitch.logs import Log
from pgswitch.net.sockets import unix_socket_path

REFERENCE = "PgBouncer 1.25.2"
"""The program and version whose behaviour is followed; tools read it as ours."""

_PIDFILE_MODE = 0o644
_FIRST_INHERITED = 3
_SPARE_DESCRIPTORS = 10
"""Descriptors besides clients and servers: log, listeners, the reactor's own."""


class Pidfile:
    """A file that holds the process id while the service runs."""

    def __init__(self, path: str, log: Log) -> None:
        """Name the file; nothing is read or written yet."""
        self.path = path
        self._log = log

    def check(self) -> None:
        """Make sure that no other process holds the file; remove a stale one.

        A file with our own process id is stale too: in containers the ids of
        successive runs are often the same.

        :raises FatalError: another instance runs, or the file cannot be read.
        """
        try:
            text = Path(self.path).read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            # Opening fails in many ways, reading an open file in hardly one.
            verb = "read" if error.errno in {errno.EISDIR, errno.EIO} else "open"
            _die(f"could not {verb} pidfile '{self.path}': {error.strerror}")
        if not text.strip().isdigit() or _is_another(int(text)):
            _die(f"pidfile '{self.path}' exists, another instance running?")
        self._log.log("stale pidfile, removing")
        with suppress(FileNotFoundError):
            Path(self.path).unlink()

    def write(self) -> None:
        """Create the file with our process id.

        :raises FatalError: it exists by now, or cannot be created.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            fd = os.open(self.path, flags, _PIDFILE_MODE)
        except OSError as error:
            _die(f"could not open pidfile '{self.path}': {error.strerror}")
        try:
            os.write(fd, b"%d\n" % os.getpid())
        except OSError as error:
            _die(f"could not write pidfile '{self.path}': {error.strerror}")
        finally:
            os.close(fd)

    def remove(self) -> None:
        """Remove the file if it is ours; errors are ignored."""
        with suppress(OSError):
            if Path(self.path).read_bytes().strip() == b"%d" % os.getpid():
                Path(self.path).unlink()


def claim(configuration: Configuration, user: str | None, log: Log) -> Pidfile | None:
    """Do the start-up steps between reading the file and becoming a daemon.

    :param user: operating-system user to become; ``None`` to stay.
    :return: the pid file, checked but not written yet; ``None`` if none is set.
    :raises FatalError: a step failed.
    """
    settle_in(configuration, user, log)
    return claim_place(configuration.settings, log)


def settle_in(configuration: Configuration, user: str | None, log: Log) -> None:
    """Switch the user and open the log.

    :raises FatalError: a step failed.
    """
    settings = configuration.settings
    bring_libraries(settings)
    if user:
        switch_user(user)
    refuse_root()
    try:
        configure_log(log, configuration)
    except OSError as error:
        _die(f"could not open logfile '{settings.logfile}': {error.strerror}")


def claim_place(settings: Settings, log: Log) -> Pidfile | None:
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
        try:
            probe.connect(path)
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


# systemd, spoken as sd_notify(3) and sd_listen_fds(3) describe.


def notify_service_manager(state: str, environ: Mapping[str, str]) -> bool:
    """Tell the service manager our state, if it asked to be told.

    :param state: assignments by line, such as ``READY=1``.
    :param environ: the environment; ``NOTIFY_SOCKET`` names the manager's socket.
    :return: whether the message was sent.
    """
    path = environ.get("NOTIFY_SOCKET", "")
    if not path:
        return False
    address = f"\0{path[1:]}" if path.startswith("@") else path
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_UNIX, kind) as sock:
        try:
            sock.sendto(state.encode(), address)
        except OSError:
            return False
    return True


def _environment_at_start() -> dict[str, str]:
    try:
        pairs = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        pairs = []
    return dict(os.fsdecode(pair).partition("=")[::2] for pair in pairs if pair)


_AT_START = _environment_at_start()
"""Read at once: a process that switches its user may not read it any more (proc(5))."""


def environment() -> dict[str, str]:
    """Return our environment with what it had at the start of the process.

    Twisted takes the variables of socket activation out as soon as its endpoints are
    imported (``twisted.python.systemd``), long before we look.
    """
    return {**_AT_START, **os.environ}


def inherited_sockets(environ: Mapping[str, str]) -> range:
    """Return the descriptors of listening sockets that the service manager passed.

    They are meant for one process only, the one named by ``LISTEN_PID``.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdigit():
        return range(0)
    return range(_FIRST_INHERITED, _FIRST_INHERITED + int(count))


# Versions.


def version_lines() -> list[str]:
    """Return what ``--version`` prints; tools read the first line."""
    return [
        REFERENCE,
        f"pgswitch {__version__} ({_platform()})",
        f"reactor: {_default_reactor()}",
        f"hot path: {_hot_path()}",
        f"adns: {_RESOLVER}",
        f"tls: {_tls_version()}",
        "systemd: yes",
    ]


def process_up_line(reactor: object) -> str:
    """Return the log line that says the service is ready."""
    name = type(reactor).__name__.removesuffix("Reactor").lower()
    return (
        f"process up: {REFERENCE}, pgswitch {__version__},"
        f" twisted {_twisted_version()} ({name}),"
        f" adns: {_RESOLVER}, tls: {_tls_version()}, hot path: {_hot_path()}"
    )


_RESOLVER = "threads"
"""How names are looked up: the system's resolver, called in threads."""


def _default_reactor() -> str:
    from pgswitch.net.reactor import best  # noqa: PLC0415 - only for one line

    return best()


def _hot_path() -> str:
    return "compiled" if is_compiled() else "interpreted"


def _platform() -> str:
    return f"Twisted {_twisted_version()}, Python {platform.python_version()}"


def _twisted_version() -> str:
    from twisted import __version__ as version  # noqa: PLC0415 - only for two lines

    return version


def _tls_version() -> str:
    from OpenSSL import SSL  # noqa: PLC0415 - slow to import, and seldom needed

    return str(SSL.OpenSSL_version(SSL.OPENSSL_VERSION), "ascii")


def _is_another(pid: int) -> bool:
    """Tell whether a process with this id runs that is not this one."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _leave_parent() -> None:
    if os.fork():
        os._exit(0)


def _die(text: str) -> NoReturn:
    raise FatalError(text)
