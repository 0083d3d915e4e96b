"""Route by a table: the first row whose two expressions match decides."""

import re

ROUTES = [
    # user name, query, [databases] entry
    (r".*", r"\btablea\b", "dev.1"),
    (r"^scram$", r"\btableb\b", "dev.2"),
]
DEFAULT = None

# Compiled once, when the file is loaded, not per query.
_ROUTES = [(re.compile(user), re.compile(text), key) for user, text, key in ROUTES]


def routing_rules(username, query, in_transaction):
    for user, text, key in _ROUTES:
        if user.search(username) and text.search(query):
            return key
    return DEFAULT
