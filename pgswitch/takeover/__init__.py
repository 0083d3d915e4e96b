"""Online restart (``-R``): a new process takes over the sockets of the old one.

The new process (``predecessor``, ``importer``) sends SUSPEND and SHOW HANDOVER to the
old one's console on the unix socket; each row of the answer (``exporter``) brings one
socket (SCM_RIGHTS, unix(7)) and the state of its connection (``serialize``).
PgBouncer gets SHOW FDS instead, which returns less state.
"""
