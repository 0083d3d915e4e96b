"""Random clients of the whole protocol, each compared with PostgreSQL itself."""
