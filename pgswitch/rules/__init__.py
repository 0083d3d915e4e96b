"""The user's functions routing_rules() and rewrite_query().

``loader`` imports their files, ``registry`` assigns them to databases, ``evaluate`` and
``rule_function`` call them, ``router`` applies the results to a client, ``waiting``
awaits asynchronous ones; ``engine`` is shared by all clients.
"""
