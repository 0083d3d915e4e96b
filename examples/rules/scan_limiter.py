"""Answer queries that scan years of sales with a warning to ask for a month."""

import re

MAX_DAYS = 30

_SCAN = re.compile(r"\bv_all_sales\b", re.IGNORECASE)
_DAYS = re.compile(r"interval\s+'(\d+)\s+days?'", re.IGNORECASE)


def rewrite_query(username, query, in_transaction):
    if not _SCAN.search(query):
        return None
    days = _DAYS.search(query)
    if days and int(days.group(1)) <= MAX_DAYS:
        return None
    return (
        "SELECT 'WARNING: scans against v_all_sales must be limited to no more than"
        f" {MAX_DAYS} days' AS alert"
    )
