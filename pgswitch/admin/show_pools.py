"""Rows of SHOW POOLS, DATABASES, USERS, PEERS and PEER_POOLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgswitch.admin.rows import MICROSECONDS, NOT_SHOWN, Cell, Rows

if TYPE_CHECKING:
    from pgswitch.admin.interfaces import View
    from pgswitch.admin.snapshots import (
        DatabaseSnapshot,
        PoolSnapshot,
        UserSnapshot,
    )


def pools(view: View) -> Rows:
    """Yield the pools by database and user."""
    return (NOT_SHOWN if one is None else _pool(one) for one in view.each_pool())


def _pool(one: PoolSnapshot) -> tuple[Cell, ...]:
    return (
        one.database,
        one.user,
        one.cl_active,
        one.cl_waiting,
        one.cl_active_cancel_req,
        one.cl_waiting_cancel_req,
        one.sv_active,
        one.sv_active_cancel,
        one.sv_being_canceled,
        one.sv_idle,
        one.sv_used,
        one.sv_tested,
        one.sv_login,
        *divmod(one.maxwait_us, MICROSECONDS),
        str(one.pool_mode),
        one.load_balance_hosts,
    )


def databases(view: View) -> Rows:
    """Yield the databases with the limits in force."""
    found = view.each_database()
    return (NOT_SHOWN if one is None else _database(one) for one in found)


def _database(one: DatabaseSnapshot) -> tuple[Cell, ...]:
    return (
        one.name,
        one.host,
        one.port,
        one.database,
        one.force_user,
        one.pool_size,
        one.min_pool_size,
        one.reserve_pool_size,
        one.server_lifetime,
        None if one.pool_mode is None else str(one.pool_mode),
        one.load_balance_hosts,
        one.max_connections,
        one.current_connections,
        one.max_client_connections,
        one.current_client_connections,
        one.paused,
        one.disabled,
    )


def users(view: View) -> Rows:
    """Yield the users with the limits in force."""
    return (NOT_SHOWN if one is None else _user(one) for one in view.each_user())


def _user(one: UserSnapshot) -> tuple[Cell, ...]:
    return (
        one.name,
        _aligned(one.pool_size),
        _aligned(one.reserve_pool_size),
        None if one.pool_mode is None else str(one.pool_mode),
        one.max_user_connections,
        one.current_connections,
        one.max_user_client_connections,
        one.current_client_connections,
    )


def _aligned(size: int | None) -> str:
    """Return a size as the text that the reference makes of it: nine wide, or none."""
    return "" if size is None else f"{size:9}"


def peers(view: View) -> Rows:
    """Return the peers."""
    return [(one.peer_id, one.host, one.port, one.pool_size) for one in view.peers()]


def peer_pools(view: View) -> Rows:
    """Return the peers that cancel requests were passed on to."""
    return [
        (
            one.peer_id,
            one.cl_active_cancel_req,
            one.cl_waiting_cancel_req,
            one.sv_active_cancel,
            one.sv_login,
        )
        for one in view.peers()
        if one.has_pool
    ]
