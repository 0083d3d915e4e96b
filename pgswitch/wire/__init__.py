"""PostgreSQL's wire protocol, sans-IO: pure functions and state machines.

No file here has a socket or reads a clock.
"""
