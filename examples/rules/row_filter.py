"""Show each user only the rows of their own region, through views.

Set rewrite_query_disconnect_on_failure = true, so that a query that cannot be
rewritten is never sent unchanged. Create the views (orders_emea, orders_apac), and
still control access to the table itself with GRANT.
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
