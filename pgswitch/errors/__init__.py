"""Every error that a client can get: one class each, and nothing else.

A class has what the wire needs (severity, SQLSTATE, text, DETAIL, HINT), what the log
needs (level) and what the reference page needs (cause, remedy), so that no call site
spells a message. Texts and SQLSTATEs are PgBouncer's, because monitoring tools match on
them; DETAIL and HINT are ours, where they help an operator.

Texts may contain ``{placeholders}``, filled by the constructor's keyword arguments::

    raise NoSuchDatabase(database="shop")

Every layer uses them; they are grouped by when they occur. Errors in the configuration
file are part of ``config``.
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
