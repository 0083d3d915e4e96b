"""The hot path: bytes between a client and the server it holds.

=============  ==================================================================
file           what it knows
=============  ==================================================================
``stream.py``    one connection: reading chunks, sending at once, back-pressure
``server_stream.py``  what a server's messages mean for the exchange and the release
``client_stream.py``  what a client's messages ask, and when a server is needed
``idle_pool.py``    which servers are idle, which clients wait: checkout and release
=============  ==================================================================

None of them knows Twisted: sockets come in as two callables, everything rare is
told to a *control* object.  mypyc compiles them; they also run as they are.
"""
