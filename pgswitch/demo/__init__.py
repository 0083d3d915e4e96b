"""A show for newcomers, and the PostgreSQL servers that it and the tests start.

Nothing of the service imports this package.
"""
