"""Every fault a client can be told of: one class each, and nothing else.

A fault carries what the wire needs (severity, SQLSTATE, text, DETAIL, HINT) and what
the log needs (level), so that no call site spells a message. Texts and codes are
those PgBouncer sends, because monitoring tools match on them; DETAIL and HINT are
ours, and present only where an operator is helped by them.

Texts may hold ``{placeholders}``, filled by keyword arguments of the constructor::

    raise NoSuchDatabase(database="shop")

Used by every floor, and grouped by when they come. Faults of the configuration file
live with the configuration.
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
