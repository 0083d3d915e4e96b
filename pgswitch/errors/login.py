"""Errors that end a login."""

from __future__ import annotations

from typing import ClassVar

from pgswitch.errors.base import Fault, LogLevelName


class SslRequired(Fault):
    """An unencrypted login over TCP; ``client_tls_sslmode`` is require or stricter."""

    text = "SSL required"
    hint = "Connect with sslmode=require or stricter."


class NoUsername(Fault):
    """The startup packet names no user."""

    text = "no username supplied"


class UsernameTooLong(Fault):
    """The user name has 128 bytes or more."""

    text = "username too long"


class UnsupportedStartupParameter(Fault):
    """A startup parameter that is neither tracked nor ignored."""

    text = "unsupported startup parameter: {name}"
    hint = (
        "List it in ignore_startup_parameters to have it ignored, or in "
        "track_extra_parameters if the server reports it."
    )
    note = "unsupported startup parameter: {name}={value}"


class UnsupportedOption(Fault):
    """The startup parameter ``options`` sets something neither tracked nor ignored."""

    text = "unsupported startup parameter in options: {name}"
    note = "unsupported startup parameter in options: {name}={value}"
    hint = UnsupportedStartupParameter.hint


class UnsupportedOptionsForm(Fault):
    """The startup parameter ``options`` contains something other than settings."""

    text = (
        "unsupported options startup parameter: "
        "only '-c config=val' and '--config=val' are allowed"
    )


class TooManyClients(Fault):
    """``max_client_conn`` is reached."""

    text = "no more connections allowed (max_client_conn)"


class TooManyDatabaseClients(Fault):
    """``max_db_client_connections`` is reached."""

    text = "client connections exceeded (max_db_client_connections)"


class TooManyUserClients(Fault):
    """``max_user_client_connections`` is reached."""

    text = "client connections exceeded (max_user_client_connections)"


class TooManyLogins(Fault):
    """Too many logins await verification; this one has not been verified."""

    sqlstate = "53300"
    text = "too many logins at once"
    detail = "The password has not been checked."
    hint = "Try again in a moment."


class EmptyPassword(Fault):
    """The client sent an empty password."""

    text = "empty password returned by client"


class PasswordFailed(Fault):
    """Wrong password or unknown user; deliberately does not say which."""

    text = "password authentication failed"


class VerifierTooSlow(PasswordFailed):
    """The stored SCRAM secret has more iterations than ``scram_iterations_max``.

    Only the log says so: the client is not authenticated.
    """

    note = (
        "the SCRAM secret of this user has {iterations} iterations,"
        " more than scram_iterations_max ({limit}): no password is compared with it"
    )


class SaslFailed(Fault):
    """Any failure of SCRAM; deliberately does not say which."""

    text = "SASL authentication failed"


class SaslMechanismInvalid(Fault):
    """The client chose a mechanism that was not offered."""

    text = "client selected an invalid SASL authentication mechanism"
    detail = "SCRAM-SHA-256 is offered, over TLS also with channel binding."


class TrustFailed(Fault):
    """An unknown user under ``trust``."""

    text = '"trust" authentication failed'


class CertificateFailed(Fault):
    """The client certificate is missing or names another user."""

    text = "certificate authentication failed"


class PeerRejected(Fault):
    """The operating-system user of a unix-socket client may not log in as this user."""

    text = "unix socket login rejected"


class LdapFailed(Fault):
    """The LDAP server refused the password or could not be reached."""

    text = "LDAP authentication failed"


class LdapOptionsMissing(Fault):
    """``auth_type=ldap`` without ``auth_ldap_options``."""

    text = "auth_ldap_options is null"


class LdapUnsupported(Fault):
    """The LDAP library is not installed."""

    text = "ldap is not supported by this build"


class PamFailed(Fault):
    """PAM refused the password or failed."""

    text = "PAM authentication failed"


class NoAuthenticationMethod(Fault):
    """No line of the HBA file matches."""

    text = "no authentication method is found"


class LoginRejected(Fault):
    """The matching line of the HBA file says reject."""

    text = "login rejected"


class AuthDatabaseDisabled(Fault):
    """The database in which ``auth_query`` would run is disabled."""

    text = 'authentication database "{database}" is disabled'


class BouncerConfigError(Fault):
    """The configuration makes this login impossible; DETAIL may say why."""

    text = "bouncer config error"
    log_level: ClassVar[LogLevelName] = "error"


class NoSuchDatabase(Fault):
    """An unknown database; sent only after successful authentication."""

    text = "no such database: {database}"


class DatabaseDisabled(Fault):
    """The database is disabled (the console's DISABLE)."""

    text = 'database "{database}" is disabled'


class PoolerShuttingDown(Fault):
    """A login during a shutdown."""

    text = "pooler is shutting down"


class NotAllowed(Fault):
    """A console login by a user who is neither admin nor stats user."""

    text = "not allowed"
    hint = "Console users are listed in admin_users and stats_users."


class ClientLoginTimeout(Fault):
    """The login took longer than ``client_login_timeout``."""

    text = "client_login_timeout"


class ClientLoginTimeoutServerDown(Fault):
    """No server logged in within ``client_login_timeout`` to take parameters from."""

    text = "client_login_timeout (server down)"
