"""The admin console: the ``pgbouncer`` database that answers SHOW and commands."""
