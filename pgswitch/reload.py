"""Reads the service's files at the start, and again at each reload.

They are the configuration, auth_file, HBA files, rules, keys and certificates, and the
log file.  An error in one of them ends a start; a reload then changes nothing, or, for
some files, keeps only that file's previous content.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgswitch.auth import methods
from pgswitch.auth.auth_file import AuthFileContent
from pgswitch.config.load import ConfigError, load
from pgswitch.config.model import carried_over, needs_reconnect_all
from pgswitch.config.trust import doubts
from pgswitch.errors.base import FatalError
from pgswitch.process.start import configure_log
from pgswitch.rules.loader import RulesError
from pgswitch.tls.contexts import TlsSetupError

if TYPE_CHECKING:
    from pgswitch.auth.auth_file import AuthFile
    from pgswitch.auth.hba_policy import HbaPolicy
    from pgswitch.auth.login_service import LoginService
    from pgswitch.cluster.clusters import Clusters
    from pgswitch.config.model import Configuration
    from pgswitch.net.listen import Listeners
    from pgswitch.pool.context import ServiceContext
    from pgswitch.pool.pools import Pools
    from pgswitch.rules.engine import RulesEngine


class ConfigReloader:
    """Reads the files and puts their content in force in the service's parts."""

    def __init__(
        self,
        context: ServiceContext,
        pools: Pools,
        login_service: LoginService,
        auth_file: AuthFile,
        *,
        hba_policy: HbaPolicy,
        rules: RulesEngine,
        listeners: Listeners,
        clusters: Clusters,
    ) -> None:
        """Take the parts of the service; nothing is read yet."""
        self._context = context
        self._log = context.log
        self._pools = pools
        self._login_service = login_service
        self._auth_file = auth_file
        self._hba_policy = hba_policy
        self._rules = rules
        self._listeners = listeners
        self._clusters = clusters

    def read(self) -> None:
        """Read the files that the configuration names; may raise FatalError."""
        configuration = self._context.configuration
        settings = configuration.settings
        problems = methods.problems(settings)
        for problem in problems:
            self._log.error(problem)
        if problems:
            raise FatalError("cannot set up authentication")
        users = self._auth_file.read(settings)
        if isinstance(users, AuthFileContent) and users.hindrances:
            for problem in users.hindrances:
                self._log.error(problem)
            raise FatalError("cannot load auth_file")
        self._auth_file.take(users)
        self._hba_policy.load(settings)
        try:
            self._rules.put_in_force(self._rules.load(configuration))
        except RulesError as error:
            for problem in error.problems:
                self._log.error(problem)
            raise FatalError("cannot load rules") from None
        self._warn(configuration)

    def reload(self) -> bool:
        """Read all files again; return False if the configuration is invalid."""
        configuration = self._context.configuration
        try:
            self.apply(load(configuration.settings.conffile or configuration.path))
        except ConfigError as error:
            for problem in error.problems:
                self._log.error(problem)
            self._log.warning("config file loading failed")
            return False
        self._warn(self._context.configuration)
        return True

    def apply(self, configuration: Configuration) -> None:
        """Put a configuration in force; settings that need a restart do not change.

        Raises ConfigError, with nothing changed, if clients could not log in with it
        or with its auth_file or HBA file, or if the rules cannot be loaded.  Each file
        is read only once: the content that was checked is put in force.
        """
        old = self._context.configuration
        new = carried_over(old, configuration)
        if problems := methods.problems(new.settings):
            raise ConfigError(problems)
        users = self._auth_file.read(new.settings)
        if problems := self._auth_file.problems(users):
            raise ConfigError(problems)
        hba = self._hba_policy.read(new.settings)
        if hba is not None and hba.hindrances:
            raise ConfigError(hba.hindrances)
        try:
            registry = self._rules.load(new)
        except RulesError as error:
            raise ConfigError(error.problems) from None
        self._context.configure(new)
        self._rules.put_in_force(registry)
        for client in list(self._login_service.clients.values()):
            self._rules.attach(client)
        self._open_log(new)
        self._read_keys(new)
        self._auth_file.take(users)
        self._hba_policy.take(new.settings, hba)
        self._login_service.reloaded()
        self._listeners.reconfigure(new.settings)
        self._pools.configure(
            recycle_all=needs_reconnect_all(old.settings, new.settings)
        )
        self._clusters.configure(new)

    def _warn(self, configuration: Configuration) -> None:
        """Log warnings about files that other users may change or read."""
        registry = self._rules.registry
        files = [] if registry is None else registry.files()
        for doubt in doubts(configuration, files):
            self._log.warning(doubt)

    def _open_log(self, new: Configuration) -> None:
        try:
            configure_log(self._log, new)
        except OSError as error:
            self._log.error(
                f"could not open log file {new.settings.logfile}: {error.strerror}"
            )

    def _read_keys(self, new: Configuration) -> None:
        try:
            self._context.tls.configure(new)
        except TlsSetupError as error:
            self._log.error(f"TLS setup failed: {error}")
            self._log.error(
                "TLS configuration could not be reloaded, keeping old configuration"
            )
