"""TLS to clients and to servers: settings, contexts, whose certificate it is."""
