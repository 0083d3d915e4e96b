"""Sends one transaction in ten to a new cluster, and writes to none but the old."""

import random

from pgswitch.sql import Classifier, Kind

SHARE = 0.1
OLD, NEW = "dev.1", "dev.2"

kind_of = Classifier()


def routing_rules(username, query, in_transaction):
    if in_transaction:
        return None  # a transaction stays where it began
    if kind_of(query) is not Kind.READ:
        return OLD
    return NEW if random.random() < SHARE else OLD
