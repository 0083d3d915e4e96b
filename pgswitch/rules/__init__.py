"""The user's Python: routing_rules() and rewrite_query(), loaded, called, judged."""
