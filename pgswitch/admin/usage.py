"""The text of SHOW HELP."""

from __future__ import annotations

from typing import Final

REFERENCE_USAGE: Final = """
	SHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION
	SHOW PEERS|PEER_POOLS
	SHOW FDS|SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE
	SHOW DNS_HOSTS|DNS_ZONES
	SHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS
	SET key = arg
	RELOAD
	PAUSE [<db>]
	RESUME [<db>]
	DISABLE <db>
	ENABLE <db>
	RECONNECT [<db>]
	KILL [<db>]
	KILL_CLIENT <client_id>
	SUSPEND
	SHUTDOWN
	SHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS
	WAIT_CLOSE [<db>]"""
"""What the reference says, letter by letter."""

OUR_USAGE: Final = """
	SHOW STATS_PERCENTILES|ERRORS|RULES|HANDOVER
	EXPLAIN ROUTE [user=<user>] [database=<db>] '<query>'
	PAUSE [<db>] TIMEOUT <seconds>
	DRAIN [TIMEOUT <seconds>]"""
"""What there is beside it."""

USAGE: Final = REFERENCE_USAGE + OUR_USAGE
"""The DETAIL of SHOW HELP."""
