"""Errors of a login."""

from __future__ import annotations

from typing import ClassVar

from pgswitch.errors.base import Fault, LogLevelName


class SslRequired(Fault):
    """The client logs in without TLS; client_tls_sslmode is require or stricter."""

    text = "SSL required"
    hint = "Connect with sslmode=require or stricter."


class NoUsername(Fault):
    """The startup packet names no user."""

    text = "no username supplied"
    remedy = "Give a user in the connection string."


class UsernameTooLong(Fault):
    """The user name has 128 bytes or more."""

    text = "username too long"
    remedy = "Use a shorter name."


class UnsupportedStartupParameter(Fault):
    """A startup parameter is neither tracked nor ignored."""

    text = "unsupported startup parameter: {name}"
    hint = (
        "List it in ignore_startup_parameters to have it ignored, or in "
        "track_extra_parameters if the server reports it."
    )
    note = "unsupported startup parameter: {name}={value}"


class UnsupportedOption(Fault):
    """A setting in the startup parameter options is neither tracked nor ignored."""

    text = "unsupported startup parameter in options: {name}"
    note = "unsupported startup parameter in options: {name}={value}"
    hint = UnsupportedStartupParameter.hint


class UnsupportedOptionsForm(Fault):
    """The startup parameter options holds something other than settings."""

    text = (
        "unsupported options startup parameter: "
        "only '-c config=val' and '--config=val' are allowed"
    )
    remedy = (
        "Write it as -c name=value or --name=value, or list options in "
        "ignore_startup_parameters."
    )


class TooManyClients(Fault):
    """max_client_conn is reached."""

    text = "no more connections allowed (max_client_conn)"
    remedy = (
        "Raise max_client_conn (and the limit of open files), or find the client "
        "that opens so many: SHOW CLIENTS."
    )


class TooManyDatabaseClients(Fault):
    """max_db_client_connections of the database is reached."""

    text = "client connections exceeded (max_db_client_connections)"
    remedy = "Raise the limit, or find the clients: SHOW CLIENTS."


class TooManyUserClients(Fault):
    """max_user_client_connections of the user is reached."""

    text = "client connections exceeded (max_user_client_connections)"
    remedy = "Raise the limit, or find the clients: SHOW CLIENTS."


class TooManyLogins(Fault):
    """Too many logins wait for their check.

    The password of this one was not looked at.
    """

    sqlstate = "53300"
    text = "too many logins at once"
    detail = "The password has not been checked."
    hint = "Try again in a moment."


class EmptyPassword(Fault):
    """The client sent an empty password."""

    text = "empty password returned by client"
    remedy = "Give a password."


class PasswordFailed(Fault):
    """The password is wrong or the user unknown. The client is not told which."""

    text = "password authentication failed"
    remedy = "Check user and password in auth_file or what auth_query returns."


class VerifierTooSlow(PasswordFailed):
    """The stored SCRAM secret has more iterations than scram_iterations_max.

    Only the log says so: the client might be anybody.
    """

    note = (
        "the SCRAM secret of this user has {iterations} iterations,"
        " more than scram_iterations_max ({limit}): no password is compared with it"
    )
    remedy = "Raise scram_iterations_max, or store a secret with fewer iterations."


class SaslFailed(Fault):
    """Password or user is wrong, or the SCRAM exchange broken.

    The client is not told which.
    """

    text = "SASL authentication failed"
    remedy = "Check user and password in auth_file or what auth_query returns."


class SaslMechanismInvalid(Fault):
    """The client chose a SASL mechanism that was not offered."""

    text = "client selected an invalid SASL authentication mechanism"
    detail = "SCRAM-SHA-256 is offered, over TLS also with channel binding."
    remedy = "Update the driver, or switch its channel binding off."


class TrustFailed(Fault):
    """The user is unknown, under auth_type = trust."""

    text = '"trust" authentication failed'
    remedy = "Add the user to auth_file."


class CertificateFailed(Fault):
    """The client certificate is missing or belongs to another user."""

    text = "certificate authentication failed"
    remedy = (
        "Connect with a certificate whose common name is the user, or map it "
        "(cert line with map=)."
    )


class PeerRejected(Fault):
    """The operating-system user of the client may not log in as this user."""

    text = "unix socket login rejected"
    remedy = "Log in as the same name, or map it in the ident file."


class LdapFailed(Fault):
    """The directory refused the password, or could not be asked."""

    text = "LDAP authentication failed"
    remedy = "The log says which; check password and auth_ldap_options."


class LdapOptionsMissing(Fault):
    """auth_type = ldap without auth_ldap_options."""

    text = "auth_ldap_options is null"
    remedy = "Set auth_ldap_options."


class LdapUnsupported(Fault):
    """The LDAP library is not installed."""

    text = "ldap is not supported by this build"
    remedy = "Install pgswitch[ldap]."


class PamFailed(Fault):
    """PAM refused the password, or could not be asked."""

    text = "PAM authentication failed"
    remedy = "Check the PAM service pgbouncer."


class NoAuthenticationMethod(Fault):
    """No line of the HBA file matches the login."""

    text = "no authentication method is found"
    remedy = "Add a line to auth_hba_file."


class LoginRejected(Fault):
    """The first matching line of the HBA file says reject."""

    text = "login rejected"
    remedy = "Change auth_hba_file if the login should pass."


class AuthDatabaseDisabled(Fault):
    """The database that auth_query runs in is disabled."""

    text = 'authentication database "{database}" is disabled'
    remedy = "ENABLE it."


class BouncerConfigError(Fault):
    """The configuration makes this login impossible; DETAIL may say why."""

    text = "bouncer config error"
    log_level: ClassVar[LogLevelName] = "error"
    remedy = "The log names the problem."


class NoSuchDatabase(Fault):
    """The database is unknown.

    A client learns this only after it gave the right password.
    """

    text = "no such database: {database}"
    remedy = "Add it to [databases], or use * there."


class DatabaseDisabled(Fault):
    """DISABLE is in force for the database."""

    text = 'database "{database}" is disabled'
    remedy = "ENABLE it."


class PoolerShuttingDown(Fault):
    """The client logs in during a shutdown."""

    text = "pooler is shutting down"
    remedy = "Connect again when the pooler is back."


class NotAllowed(Fault):
    """The user may not use the console."""

    text = "not allowed"
    hint = "Console users are listed in admin_users and stats_users."


class ClientLoginTimeout(Fault):
    """The login took longer than client_login_timeout."""

    text = "client_login_timeout"
    remedy = "Look for a slow network, or a slow directory or auth_query."


class ClientLoginTimeoutServerDown(Fault):
    """No server logged in within client_login_timeout.

    The login of a client needs one.
    """

    text = "client_login_timeout (server down)"
    remedy = "Check that the server can be reached; the log says why logins to it fail."
