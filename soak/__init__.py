"""A crowd of clients that come, ask, cancel and die at random; servers die meanwhile.

At the end every count that the pooler shows must be what is really open, nobody may
have waited without cause or got another's answer, and the memory must be back.

===================  ============================================================
file                 what it knows
===================  ============================================================
``script.py``        what a client does and how it leaves, from the seed alone
``wire.py``          a connection without a driver, and messages
``client.py``        carries a script out and judges every answer
``trouble.py``       who is killed when, from the seed alone; and the killing
``audit.py``         judges counts, waits and memory
``looking.py``       reads them: the console, pg_stat_activity, /proc
``stage.py``         the PostgreSQL server and the pooler before it
``run.py``           the phases of a run
``__main__.py``      the command line
===================  ============================================================

A file imports only from files above it.
"""
