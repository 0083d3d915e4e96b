"""Compile the hot path with mypyc where a C compiler is there.

The same files run interpreted without it, only slower: so a failing build of these
extensions never fails the installation.  ``PGSWITCH_PURE=1`` leaves them out.
``pgswitch -V`` says which of the two is running.
"""

import os
import sys

from setuptools import Extension, setup

HOT = [
    "pgswitch/stats/counters.py",
    "pgswitch/stats/times.py",
    "pgswitch/wire/actions.py",
    "pgswitch/wire/cancel_key.py",
    "pgswitch/wire/startup.py",
    "pgswitch/wire/constants.py",
    "pgswitch/wire/decode.py",
    "pgswitch/wire/encode.py",
    "pgswitch/wire/exchange.py",
    "pgswitch/wire/framing.py",
    "pgswitch/wire/client_auth.py",
    "pgswitch/wire/params.py",
    "pgswitch/wire/password.py",
    "pgswitch/wire/prepared.py",
    "pgswitch/wire/scram.py",
    "pgswitch/wire/statements.py",
    "pgswitch/relay/interfaces.py",
    "pgswitch/relay/stream.py",
    "pgswitch/relay/server_stream.py",
    "pgswitch/relay/prepared_rewriter.py",
    "pgswitch/relay/client_stream.py",
    "pgswitch/relay/interceptor.py",
    "pgswitch/relay/idle_pool.py",
    "pgswitch/relay/event_loop.py",
    "pgswitch/rules/router.py",
    "pgswitch/rules/registry.py",
    "pgswitch/rules/evaluate.py",
    "pgswitch/rules/engine.py",
    "pgswitch/rules/encodings.py",
    "pgswitch/rules/patterns.py",
    "pgswitch/config/effective.py",
    "pgswitch/auth/credentials.py",
    "pgswitch/auth/hba_policy.py",
    "pgswitch/auth/session_setup.py",
    "pgswitch/auth/client_counts.py",
    "pgswitch/auth/user_lookup.py",
    "pgswitch/auth/methods.py",
    "pgswitch/auth/login_service.py",
    "pgswitch/auth/auth_file.py",
    "pgswitch/net/acceptor.py",
    "pgswitch/net/tcp_transport.py",
    "pgswitch/net/factories.py",
    "pgswitch/net/frontend.py",
    "pgswitch/net/login_commands.py",
    "pgswitch/net/tracing.py",
    "pgswitch/net/transport.py",
    "pgswitch/pool/cancel_keys.py",
    "pgswitch/pool/server_connections.py",
    "pgswitch/pool/maintenance.py",
    "pgswitch/pool/modes.py",
    "pgswitch/pool/pool.py",
    "pgswitch/pool/pools.py",
    "pgswitch/pool/parameter_sync.py",
    "pgswitch/pool/connection_limits.py",
    "pgswitch/pool/wait_watchdog.py",
]


def extensions() -> list:
    """Return the extensions to build; none if they cannot be."""
    if os.environ.get("PGSWITCH_PURE"):
        return []
    try:
        from mypyc.build import mypycify  # noqa: PLC0415 - may be absent
    except ImportError:
        return []
    # The other files need plugins to be understood; `make check` has them.
    checks = [
        "--config-file=",
        "--ignore-missing-imports",
        "--follow-imports=silent",
    ]
    try:
        built = mypycify([*checks, *HOT], opt_level="3")
    except SystemExit as error:  # its way of telling that it does not compile
        print(f"the hot path is not compiled: {error}", file=sys.stderr)  # noqa: T201
        return []
    for name in ("pgswitch/relay/syscalls", "pgswitch/wire/passing"):
        built.append(Extension(name.replace("/", "."), [f"{name}.c"]))
    for extension in built:
        extension.optional = True
        if sys.platform == "linux":
            # Its functions call each other directly instead of by way of the table
            # through which another library might replace them: 4 % of a connection.
            extension.extra_compile_args += ["-fno-semantic-interposition"]
            extension.extra_link_args += ["-Wl,-Bsymbolic"]
    return built


setup(ext_modules=extensions())
