"""Classifies SQL statements, for rules that separate reads from writes.

::

    from pgswitch.sql import Classifier, Kind

    kind_of = Classifier(volatile=["next_ticket"])

    def routing_rules(username, query, in_transaction):
        return "shop:reader" if kind_of(query) is Kind.READ else "shop:writer"
"""

from pgswitch.sql.classifier import Classifier, Kind

__all__ = ["Classifier", "Kind"]
