"""The operating-system process of the service: start, signals, systemd, pid file.

``start`` has the steps before the reactor runs, ``runner`` the service's life after.
"""
