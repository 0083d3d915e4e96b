"""Two tables on two servers; clients need not know which is where.

    routing_rules_py_module_file = /etc/pgswitch/routing_rules.py

with entries dev, dev.1 and dev.2 in [databases]; applications connect to dev.
"""


def routing_rules(username, query, in_transaction):
    if "tablea" in query:
        return "dev.1"
    if "tableb" in query:
        return "dev.2"
    return None  # stay on the server that is used now
