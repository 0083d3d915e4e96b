"""Host names of servers: looked up without blocking, kept, used in rotation."""
