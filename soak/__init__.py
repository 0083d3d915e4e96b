"""Two soak tests: thousands of clients that misbehave, and a cluster whose nodes fail.

``make soak``: clients connect, query, cancel and disconnect at random, also while an
administrator ends servers and clients. At the end every count that the pooler shows
must be right, no client may have waited without cause or received another's answer, and
the memory must be back.

=======================  ========================================================
file                     what it holds
=======================  ========================================================
``script.py``            what clients do and how they disconnect, from the seed
``faults.py``            which faults are injected when, from the seed; and doing so
``client.py``            carries a script out and checks every answer
``audit.py``             reads counts, waits and memory, and checks them
``run.py``               the servers, and the phases of a run
``__main__.py``          the command line
``failover_clients.py``  clients that record what they learned about each row
``failover.py``          ``python -m soak.failover``: clients of a failing cluster
=======================  ========================================================

A file imports only from files above it.
"""
