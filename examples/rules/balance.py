"""Sends one transaction in ten to a new cluster, and writes to none but the old."""

import random
import re

SHARE = 0.1
OLD, NEW = "dev.1", "dev.2"

_READS = re.compile(r"\s*(select|with|table|values)\b", re.IGNORECASE)
_WRITES = re.compile(r"\b(insert|update|delete|merge|for\s+update)\b", re.IGNORECASE)


def routing_rules(username, query, in_transaction):
    if in_transaction:
        return None  # a transaction stays where it began
    if not _READS.match(query) or _WRITES.search(query):
        return OLD
    return NEW if random.random() < SHARE else OLD
