"""The table of settings, compared with what users of PgBouncer know."""

from __future__ import annotations

import pytest

from pgswitch.config.settings import SETTING_ALIASES, SETTINGS, Settings

OF_THE_SEED = {
    "polling_frequency",
    "recreate_disconnected_pools",
    "rewrite_query_disconnect_on_failure",
    "rewrite_query_py_module_file",
    "routing_rules_py_module_file",
    "server_failed_delay",
}

OUR_OWN = {
    "auth_query_cache_ttl",
    "log_format",
    "manhole_authorized_keys",
    "manhole_host_key",
    "manhole_socket",
    "manhole_ssh",
    "reader_max_lag",
    "reader_max_lag_bytes",
    "rewrite_query_tag",
    "rules_fast_patterns",
    "rules_reroute_in_transaction",
    "rules_slow_ms",
    "rules_timeout",
    "scram_iterations_max",
    "server_tls_ecdhcurve",
    "standby_pool_size",
    "switchover_record",
    "switchover_retry",
    "switchover_forget",
    "switchover_silence",
    "switchover_start_timeout",
    "topology_refresh",
}

RESTART = [
    "disable_pqexec",
    "job_name",
    "listen_addr",
    "listen_backlog",
    "listen_port",
    "manhole_authorized_keys",
    "manhole_host_key",
    "manhole_socket",
    "manhole_ssh",
    "pidfile",
    "pkt_buf",
    "resolv_conf",
    "so_reuseport",
    "track_extra_parameters",
    "unix_socket_dir",
    "unix_socket_group",
    "unix_socket_mode",
    "user",
]

UNSET = [
    "auth_dbname",
    "auth_file",
    "auth_ident_file",
    "auth_ldap_options",
    "auth_user",
    "client_tls13_ciphers",
    "conffile",
    "server_tls13_ciphers",
    "user",
]

DEFAULTS = {
    "client_login_timeout": 60.0,
    "default_pool_size": 20,
    "listen_port": 6432,
    "max_client_conn": 100,
    "max_packet_size": 2147483647,
    "max_prepared_statements": 200,
    "polling_frequency": 0.1,
    "query_wait_timeout": 120.0,
    "rewrite_query_disconnect_on_failure": False,
    "routing_rules_py_module_file": "not_enabled",
    "server_check_query": "<empty>",
    "server_idle_timeout": 600.0,
    "server_lifetime": 3600.0,
    "server_reset_query": "DISCARD ALL",
    "track_extra_parameters": ("IntervalStyle",),
    "unix_socket_dir": "/tmp",
    "unix_socket_mode": 0o777,
}


def test_count() -> None:
    """There are the hundred settings of PgBouncer 1.25, six of its fork, and ours."""
    assert len(SETTINGS) == 100 + len(OF_THE_SEED) + len(OUR_OWN)
    assert set(SETTINGS) >= OF_THE_SEED


def test_order() -> None:
    """The order is that of SHOW CONFIG: by name, but for pool_mode."""
    names = [name for name in SETTINGS if name != "pool_mode"]
    assert names == sorted(names)
    assert next(iter(SETTINGS)) == "admin_users"


def test_restart() -> None:
    """These settings, and no others, change at a restart only."""
    assert [name for name, about in SETTINGS.items() if not about.reloadable] == RESTART


def test_unset() -> None:
    """These settings, and no others, have no default at all."""
    assert [name for name in SETTINGS if getattr(Settings(), name) is None] == UNSET


@pytest.mark.parametrize(("name", "value"), DEFAULTS.items())
def test_defaults(name: str, value: object) -> None:
    """Defaults are those that operators of either program know."""
    assert getattr(Settings(), name) == value


def test_meanings() -> None:
    """Every setting has a meaning for the reference page."""
    assert not [name for name, about in SETTINGS.items() if not about.meaning.strip()]


def test_aliases() -> None:
    """An old name stands for a present one and is none itself."""
    assert set(SETTING_ALIASES.values()) <= set(SETTINGS)
    assert not set(SETTING_ALIASES) & set(SETTINGS)
