"""Reads go to the standbys of a cluster, all else to its writer.

    routing_rules_py_module_file = /etc/pgswitch/read_write_splitter.py
    pool_mode = transaction

for entries of [databases] that are clusters (topology_query); with any other entry
nothing changes. Name your functions that write here, for a text does not show it:
"""

import re
from time import monotonic

from pgswitch.sql import Classifier, Kind

kind_of = Classifier(volatile=["next_ticket"])

OWN_WRITES_S = 2.0
"""So long after a write a client reads from the writer, where it surely sees it."""
MOST_CLIENTS = 10_000

_READ_ONLY = re.compile(
    r"\s*(begin|start)\b[\w\s,]*\bread\s+only\b[\w\s,]*;?\s*$", re.IGNORECASE
)
_wrote = {}  # when, by the address of the client


def routing_rules(username, query, in_transaction, context):
    if in_transaction:
        return None  # a transaction stays where it began
    kind = kind_of(query)
    if kind is Kind.SET:
        return None  # pgswitch has settings follow the client
    is_read = kind is Kind.READ or _READ_ONLY.match(query)
    now = monotonic()
    if is_read and now - _wrote.get(context.address, 0) > OWN_WRITES_S:
        return f"{context.database}:reader"
    if not is_read:
        if len(_wrote) >= MOST_CLIENTS:
            _wrote.clear()
        _wrote[context.address] = now
    return f"{context.database}:writer"
