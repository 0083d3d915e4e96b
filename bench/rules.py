"""The rules of the workloads with rules: the two examples of pgbouncer-fast-switchover.

They do what its README does, expression by expression and as slowly: patterns are
compiled for each query and have ``.*`` at both ends.
"""

from __future__ import annotations

import re
from typing import Any

ROUTES: dict[str, Any] = {
    "route": [
        {"usernameRegex": ".*", "queryRegex": ".*tablea.*", "dbkey": "dev.1"},
        {"usernameRegex": ".*", "queryRegex": ".*tableb.*", "dbkey": "dev.2"},
    ],
    "default": None,
}


def routing_rules(username: str, query: str, in_transaction: bool) -> str | None:  # noqa: FBT001 - the contract
    """Return the key of the first matching row."""
    del in_transaction
    for route in ROUTES["route"]:
        user = re.compile(route["usernameRegex"])
        text = re.compile(route["queryRegex"])
        if user.search(username) and text.search(query):
            return str(route["dbkey"])
    return None


def rewrite_query(username: str, query: str, in_transaction: bool) -> str:  # noqa: FBT001 - the contract
    """Rewrite two reports to use smaller tables; leave other queries alone."""
    del username, in_transaction
    stores = (
        r"SELECT storename, SUM\(total\) FROM sales JOIN store USING \(storeid\)"
        r" GROUP BY storename ORDER BY storename"
    )
    products = (
        r"SELECT prodname, SUM\(total\) FROM sales JOIN product USING \(productid\)"
        r" GROUP BY prodname ORDER BY prodname"
    )
    if re.match(stores, query):
        return "SELECT storename, SUM(total) FROM store_sales GROUP BY 1 ORDER BY 1"
    if re.match(products, query):
        return "SELECT prodname, SUM(total) FROM product_sales GROUP BY 1 ORDER BY 1"
    return query
