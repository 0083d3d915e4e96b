"""A Python shell inside the running service, and the way into it."""
