"""Every error and notice that a client can receive: one class each, nothing else.

A fault carries what the protocol needs (severity, SQLSTATE, text, DETAIL, HINT) and
what the log needs (level), so no call site spells out a message. Texts and codes are
PgBouncer's, because monitoring tools match on them; DETAIL and HINT are ours, and only
present where they help an operator.

Texts may contain ``{placeholders}``, filled by the constructor's keyword arguments::

    raise NoSuchDatabase(database="shop")

The modules group them by when they occur. Every layer may use them. Errors of the
configuration file are in ``config``.
"""

from __future__ import annotations

from pgswitch.errors.base import (
    PROTOCOL_VIOLATION,
    ClientQueued,
    ConsoleUsage,
    Fault,
    MessageFields,
    Notice,
    SetIgnored,
    SilentClose,
    TlsNotApplied,
    cut_text,
)
from pgswitch.errors.console import (
    AdminAccessNeeded,
    AdminDatabaseRefused,
    AlreadyPaused,
    BadArguments,
    ClientNotFound,
    ConsoleError,
    ConsoleNoSuchDatabase,
    ConsolePacketUnsupported,
    ConsoleShuttingDown,
    DatabaseNeeded,
    DatabaseNotPaused,
    InvalidClientPointer,
    InvalidCommand,
    PauseEnded,
    PauseTimedOut,
    PoolerNotPaused,
    PortalMissing,
    PreparedStatementExists,
    PreparedStatementMissing,
    ReloadFailed,
    SetFailed,
    StatementCancelled,
    SuspendWithPausedDatabases,
    TooManyParameters,
    TooMuchPrepared,
)
from pgswitch.errors.login import (
    AuthDatabaseDisabled,
    BouncerConfigError,
    CertificateFailed,
    ClientLoginTimeout,
    ClientLoginTimeoutServerDown,
    DatabaseDisabled,
    EmptyPassword,
    LdapFailed,
    LdapOptionsMissing,
    LdapUnsupported,
    LoginRejected,
    NoAuthenticationMethod,
    NoSuchDatabase,
    NotAllowed,
    NoUsername,
    PamFailed,
    PasswordFailed,
    PeerRejected,
    PoolerShuttingDown,
    SaslFailed,
    SaslMechanismInvalid,
    SslRequired,
    TooManyClients,
    TooManyDatabaseClients,
    TooManyLogins,
    TooManyUserClients,
    TrustFailed,
    UnsupportedOption,
    UnsupportedOptionsForm,
    UnsupportedStartupParameter,
    UsernameTooLong,
    VerifierTooSlow,
)
from pgswitch.errors.protocol import (
    BadPacketHeader,
    BrokenPacket,
    IncompleteQuery,
    OldProtocol,
    ParameterStatusNotStored,
    PasswordBeforeStartup,
    ProtocolViolation,
    ServerBadHeader,
    ServerIterationsTooMany,
    ServerMessageTooLong,
    ServerUnaskedAnswer,
    ServerUnknownPacket,
    StartupRepeated,
    StartupTerminatorMissing,
    UnencryptedDataAfterGssRequest,
    UnencryptedDataAfterSslRequest,
    UnknownPacket,
)
from pgswitch.errors.session import (
    AdminForcedDisconnect,
    ClientIdleTimeout,
    DatabaseRemoved,
    Drained,
    InternalFault,
    InvalidServerParameter,
    NotHandedOver,
    PqexecDisallowed,
    QueryCancelled,
    QueryTimeoutWaiting,
    QueryWaitTimeout,
    RewriteFailed,
    RuleMoveRefused,
    ServerAuthUnsupported,
    ServerClosed,
    ServerConnCrashed,
    ServerLoginFailing,
    ServerLoginRefused,
    ServerLoginWrongPasswordType,
    ServerSaslUnsupported,
    ServerShuttingDown,
    ServerSignatureInvalid,
    ServerSignatureNotVerified,
    SuspendTimeout,
    TransactionBlocksNotAllowed,
)
from pgswitch.errors.switchover import (
    InFailedTransaction,
    MultipleCommands,
    NoSuchStatement,
    OutcomeUnknown,
    SessionEnded,
    SessionLost,
    StatementEnded,
    StatementInUse,
    TransactionLost,
    TransactionNotChained,
)
