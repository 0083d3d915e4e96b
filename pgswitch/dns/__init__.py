"""Resolves the host names of servers: without blocking, cached, in rotation.

``resolver`` is the entry point, and watches serial numbers of zones for changes;
``lookup`` asks the system or DNS servers, ``cache`` stores the answers.
"""
