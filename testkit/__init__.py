"""What the tests, the benchmarks and the soak share; it is not installed.

=================  ===============================================================
file               what it holds
=================  ===============================================================
``pgwire.py``      a small PostgreSQL client that shows every message
``procfs.py``      CPU time, memory and sockets of processes, from /proc
=================  ===============================================================
"""
