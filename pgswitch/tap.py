"""The service as a plugin of ``twistd``: ``twistd -n pgswitch --config FILE``.

``twistd`` daemonizes, writes its own pid file and has its own log; our log goes where
the configuration file says, in the usual format.
"""

from __future__ import annotations

from twisted.application.service import IService
from twisted.python import usage

from pgswitch.config.load import ConfigError, load
from pgswitch.config.model import Configuration
from pgswitch.errors.base import FatalError
from pgswitch.logs import Log


class Options(usage.Options):
    """Command line after the word ``pgswitch``."""

    synopsis = "[--config] FILE"
    optParameters = (
        ("config", "c", None, "configuration file, as for the command pgswitch"),
    )

    configuration: Configuration

    def parseArgs(self, path: str | None = None) -> None:
        """Accept the file without the option as well."""
        if path is not None:
            self["config"] = path

    def postOptions(self) -> None:
        """Read the file now, so that errors in it end ``twistd`` before it forks.

        :raises UsageError: no file is named, or the file is invalid.
        """
        if not self["config"]:
            raise usage.UsageError("no configuration file specified")
        try:
            self.configuration = load(self["config"])
        except ConfigError as error:
            text = "\n".join((*error.problems, "cannot load config file"))
            raise usage.UsageError(text) from error


def makeService(options: Options) -> IService:
    """Return the service for ``twistd`` to run.

    Exits with status 1 if it cannot be built.
    """
    from twisted.internet import reactor

    from pgswitch.process.runner import PluginRunner  # noqa: PLC0415
    from pgswitch.service import PgSwitch  # noqa: PLC0415

    log = Log()
    try:
        return PluginRunner(
            options.configuration, reactor=reactor, log=log, make_service=PgSwitch
        )
    except FatalError as error:
        log.fatal(error.text)
        raise SystemExit(1) from None
