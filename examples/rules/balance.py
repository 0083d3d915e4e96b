"""Send a tenth of reads to a new cluster; writes and transactions go to the old one."""

import random

from pgswitch.sql import Classifier, Kind

SHARE = 0.1
OLD, NEW = "dev.1", "dev.2"

kind_of = Classifier()


def routing_rules(username, query, in_transaction):
    if in_transaction:
        return None  # a transaction stays where it started
    if kind_of(query) is not Kind.READ:
        return OLD
    return NEW if random.random() < SHARE else OLD
