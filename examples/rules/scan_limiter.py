"""Tells people who read years of sales to ask for a month, by way of a result."""

import re

MOST_DAYS = 30

_SCAN = re.compile(r"\bv_all_sales\b", re.IGNORECASE)
_DAYS = re.compile(r"interval\s+'(\d+)\s+days?'", re.IGNORECASE)


def rewrite_query(username, query, in_transaction):
    if not _SCAN.search(query):
        return None
    days = _DAYS.search(query)
    if days and int(days.group(1)) <= MOST_DAYS:
        return None
    return (
        "SELECT 'WARNING: scans against v_all_sales must be limited to no more than"
        f" {MOST_DAYS} days' AS alert"
    )
