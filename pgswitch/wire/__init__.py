"""The PostgreSQL wire protocol as pure functions and machines: no sockets, no clock."""
