"""The hot path: bytes between a client and the server it holds.

========================  ========================================================
file                      what it knows
========================  ========================================================
``client_stream.py``      what a client's messages ask for, when it needs a server
``server_stream.py``      what a server's messages mean for its client and release
``stream.py``             what both share: reading chunks, sending, back-pressure
``prepared_rewriter.py``  how messages about prepared statements are rewritten
``interceptor.py``        how queries wait for the rules' judgement
``idle_pool.py``          which servers are idle, which clients wait
``event_loop.py``         the loop that reads all streams, without the reactor
``interfaces.py``         what these need of the socket, the protocols, the rules
``syscalls.py``, ``.c``   the system calls
========================  ========================================================

No file here knows Twisted: a socket comes in as two callables, and a *frontend* or
*backend* does everything rare.  mypyc compiles these files; they also run as they are.
"""
