"""One process goes on with the sockets of another (``-R``, online restart).

The new process asks the old one's console on the unix socket for SUSPEND and SHOW
HANDOVER; each row brings one socket (SCM_RIGHTS, unix(7)) and what is known of it.  A
PgBouncer is asked for SHOW FDS instead, which says less.
"""
