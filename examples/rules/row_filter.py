"""Lets each user see the rows of their own region only, by way of views.

With rewrite_query_disconnect_on_failure = true, so that a query that could not be
rewritten is never sent as it is. The views (orders_emea, orders_apac) belong to the
schema; who may read the table itself should be settled by GRANT all the same.
"""

import re

REGION = {"ann": "emea", "bob": "apac"}

_TABLE = re.compile(r"\borders\b", re.IGNORECASE)


def rewrite_query(username, query, in_transaction):
    if not _TABLE.search(query):
        return None
    region = REGION.get(username)
    if region is None:
        return "SELECT 'WARNING: no region is set for this user' AS alert"
    return _TABLE.sub(f"orders_{region}", query)
