"""The command ``pgswitch``, with PgBouncer's options, texts and exit statuses.

Exit status 0 after a requested shutdown, 1 after anything else.
"""

from __future__ import annotations

import getopt
import sys
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

from pgswitch.config.load import ConfigError, load
from pgswitch.config.model import Configuration
from pgswitch.errors.base import FatalError
from pgswitch.logs import Log
from pgswitch.process.pidfile import Pidfile
from pgswitch.process.start import acquire_instance_lock, daemonise, drop_privileges
from pgswitch.process.versions import version_lines

SHORT_OPTIONS = "dqRu:vVh"
LONG_OPTIONS = ["daemon", "quiet", "reboot", "user=", "verbose", "version", "help"]

COMMANDS = {
    "check": "pgswitch.commands.check",
    "demo": "pgswitch.commands.demo",
    "replay": "pgswitch.commands.replay",
    "rules": "pgswitch.commands.rules",
}
"""Words of ours that may come first; alone such a word is a configuration file.

Except ``demo``, which needs no argument, unless there is a file of that name.
"""

HELP = """\
Usage: {program} [OPTION]... CONFIG_FILE
       {program} check FILE
       {program} demo [switchover] [OPTION]...
       {program} rules [OPTION]... FILE QUERY...
       {program} replay FILE
Pool connections to PostgreSQL servers, as PgBouncer does.

  -d, --daemon       run in the background (needs pidfile in CONFIG_FILE)
  -q, --quiet        write no log to standard error
  -R, --reboot       take over sockets and connections from the running process
  -u, --user=USER    become this operating-system user
  -v, --verbose      log more; may be given several times
  -V, --version      print versions and exit; the first line names the PgBouncer
                     version whose behaviour pgswitch follows
  -h, --help         print this help and exit

The command `check` says for each setting of a configuration file (PgBouncer's too)
what it does, and whether the file can be used. The command `rules` applies a file of
routing and rewriting functions to queries, without a server; `replay` shows the
decisions of recorded switchovers. The command `demo` starts a PostgreSQL server, or
three for `demo switchover`, and pgswitch with a workload to watch.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """The parsed command line."""

    path: str
    daemon: bool = False
    quiet: bool = False
    reboot: bool = False
    user: str | None = None
    verbosity: int = 0


class UsageError(Exception):
    """The command line is invalid; the text says why."""


class InformationOnly(Exception):
    """The command line asks only for the help or the version, which is the text."""


def parse(arguments: list[str], program: str) -> CommandLine:
    """Parse the arguments.

    :param arguments: the command line without the program's name.
    :param program: the program's name in the help text.
    :raises UsageError: an option is unknown, or there is not exactly one file.
    :raises InformationOnly: the arguments ask for the version or the help.
    """
    try:
        options, files = getopt.gnu_getopt(arguments, SHORT_OPTIONS, LONG_OPTIONS)
    except getopt.GetoptError as error:
        raise UsageError(_complaint(error)) from error
    names = [name for name, _ in options]
    for name in names:
        if name in {"-h", "--help"}:
            raise InformationOnly(HELP.format(program=program))
        if name in {"-V", "--version"}:
            raise InformationOnly("".join(f"{line}\n" for line in version_lines()))
    if len(files) != 1:
        raise UsageError("no configuration file specified")
    users = [value for name, value in options if name in {"-u", "--user"}]
    return CommandLine(
        path=files[0],
        daemon="-d" in names or "--daemon" in names,
        quiet="-q" in names or "--quiet" in names,
        reboot="-R" in names or "--reboot" in names,
        user=users[-1] if users else None,
        verbosity=names.count("-v") + names.count("--verbose"),
    )


def _complaint(error: getopt.GetoptError) -> str:
    """Return the error text of getopt_long(3) for an invalid option."""
    is_short = len(error.opt) == 1
    if error.msg.endswith("requires argument"):
        if is_short:
            return f"option requires an argument -- '{error.opt}'"
        return f"option '--{error.opt}' requires an argument"
    if error.msg.endswith("not recognized"):
        if is_short:
            return f"invalid option -- '{error.opt}'"
        return f"unrecognized option '--{error.opt}'"
    return error.msg


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status.

    :param arguments: the command line without the program's name; ``None`` for the
        process's own.
    """
    # Started under PgBouncer's name, we answer under that name.
    called = Path(sys.argv[0]).name
    program = "pgbouncer" if called == "pgbouncer" else "pgswitch"
    arguments = sys.argv[1:] if arguments is None else arguments
    if _is_command(arguments):
        command_of_ours = import_module(COMMANDS[arguments[0]])
        return int(command_of_ours.main(arguments[1:], program))
    try:
        command = parse(arguments, program)
    except InformationOnly as answer:
        sys.stdout.write(str(answer))
        return 0
    except UsageError as error:
        sys.stderr.write(f"{program}: {error}\n")
        sys.stderr.write(f'Try "{program} --help" for more information.\n')
        return 1
    log = Log(quiet=command.quiet, verbosity=command.verbosity)
    try:
        return run(command, log)
    except FatalError as error:
        log.fatal(error.text)
        return 1


def _is_command(arguments: list[str]) -> bool:
    """Tell whether the first argument is a command rather than a configuration file."""
    if arguments == ["demo"]:
        return not Path("demo").exists()
    return len(arguments) > 1 and arguments[0] in COMMANDS


def run(command: CommandLine, log: Log) -> int:
    """Start the service, run it until it ends, and return the exit status.

    :raises FatalError: a start-up step failed.
    """
    configuration = read_configuration(command.path, log)
    user = command.user or configuration.settings.user
    if command.reboot:
        log.warning("Online restart is deprecated, use so_reuseport instead")

    # Import everything before switching the user, who may not be able to read our
    # files.  Twisted's reactors survive the fork that may follow.

    from pgswitch.net.reactor import install_best  # noqa: PLC0415

    install_best()
    from twisted.internet import reactor
    from twisted.logger import globalLogBeginner  # noqa: PLC0415

    from pgswitch.process.runner import Runner  # noqa: PLC0415
    from pgswitch.service import PgSwitch, set_up_tls  # noqa: PLC0415
    from pgswitch.takeover.predecessor import begin  # noqa: PLC0415

    # Read the keys now: the new user may not be able to read them.
    tls = set_up_tls(configuration, log)
    drop_privileges(configuration, user, log)
    settings = configuration.settings
    takeover = begin(settings, log) if command.reboot else None
    if takeover is None:
        pidfile = acquire_instance_lock(settings, log)
    else:
        # The old process still holds it.
        pidfile = Pidfile(settings.pidfile, log) if settings.pidfile else None
    if command.daemon:
        daemonise(log, pidfile)
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)
    runner = Runner(
        configuration,
        reactor=reactor,
        log=log,
        make_service=partial(PgSwitch, takeover=takeover, tls=tls),
    )
    runner.pidfile = pidfile
    runner.startService()
    reactor.addSystemEventTrigger("before", "shutdown", runner.stopService)
    reactor.run()
    return runner.exit_status


def read_configuration(path: str, log: Log) -> Configuration:
    """Return the configuration, or log each problem of the file.

    :raises FatalError: there was a problem.
    """
    try:
        return load(path)
    except ConfigError as error:
        for problem in error.problems:
            log.error(problem)
        raise FatalError("cannot load config file") from error


if __name__ == "__main__":
    sys.exit(main())
