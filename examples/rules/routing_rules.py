"""Route queries on two tables to the two servers that hold them.

    routing_rules_py_module_file = /etc/pgswitch/routing_rules.py

Needs the [databases] entries dev, dev.1 and dev.2. Applications connect to dev.
"""


def routing_rules(username, query, in_transaction):
    if "tablea" in query:
        return "dev.1"
    if "tableb" in query:
        return "dev.2"
    return None  # stay where the last query went
