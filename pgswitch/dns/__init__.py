"""Resolves the host names of servers: without blocking, cached, in rotation.

``resolver`` is the entry point; ``lookup`` asks the system or DNS servers, ``cache``
stores the answers, ``zones`` watches serial numbers of zones for changes.
"""
