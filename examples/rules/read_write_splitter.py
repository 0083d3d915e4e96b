"""Send reads to the standbys of a cluster and everything else to its writer.

    routing_rules_py_module_file = /etc/pgswitch/read_write_splitter.py
    pool_mode = transaction

This works for [databases] entries that are clusters (topology_query); for other
entries it changes nothing. List your own functions that write below: the text of a
query does not show that they do.
"""

import re
from time import monotonic

from pgswitch.sql import Classifier, Kind

kind_of = Classifier(volatile=["next_ticket"])

OWN_WRITES_S = 2.0
"""For this many seconds after a write, a client's reads go to the writer too."""
MAX_CLIENTS = 10_000

_READ_ONLY = re.compile(
    r"\s*(begin|start)\b[\w\s,]*\bread\s+only\b[\w\s,]*;?\s*$", re.IGNORECASE
)
_wrote = {}  # time of the last write, by client address


def routing_rules(username, query, in_transaction, context):
    if in_transaction:
        return None  # a transaction stays where it started
    kind = kind_of(query)
    if kind is Kind.SET:
        return None  # tracked settings follow the client anyway
    is_read = kind is Kind.READ or _READ_ONLY.match(query)
    now = monotonic()
    if is_read and now - _wrote.get(context.address, 0) > OWN_WRITES_S:
        return f"{context.database}:reader"
    if not is_read:
        if len(_wrote) >= MAX_CLIENTS:
            _wrote.clear()
        _wrote[context.address] = now
    return f"{context.database}:writer"
