"""The rules of the loads with rules: the two examples by which the seed is known.

They do what the README of pgbouncer-fast-switchover does, expression by expression, and
as slowly: patterns are compiled for each query, ``.*`` stands at both ends.
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
    """Return the key of the first row that fits."""
    del in_transaction
    for route in ROUTES["route"]:
        user = re.compile(route["usernameRegex"])
        text = re.compile(route["queryRegex"])
        if user.search(username) and text.search(query):
            return str(route["dbkey"])
    return None


def rewrite_query(username: str, query: str, in_transaction: bool) -> str:  # noqa: FBT001 - the contract
    """Return one of two reports from its smaller table, other queries as they are."""
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
