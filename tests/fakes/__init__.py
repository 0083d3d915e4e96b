"""Stand-ins for what is outside of the process: sockets, clients, servers, time."""
