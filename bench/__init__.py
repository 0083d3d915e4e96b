"""What pgswitch costs compared with other poolers, on one machine in one run.

========================  =======================================================
file                      what it holds
========================  =======================================================
``metrics.py``            what is measured, the goals, and the figures of all rounds
``environment.py``        the PostgreSQL server, its client programs, the files
``poolers.py``            how each pooler is configured, started and stopped
``idle_clients.py``       a process that holds idle clients
``workloads.py``          what clients do through a pooler, and what it costs
``runner.py``             the rounds, interleaved, and a progress bar
``rules.py``              the routing and rewriting functions of some workloads
``report.py``             the tables, the chart, the JSON file, the page
``__main__.py``           ``make bench``: the command line and all of it in order
``switchover_report.py``  figures of outages, their table, chart and page
``switchover.py``         ``make bench-switchover``: outages in switchovers
``settings/``             ``make settings``: each setting at its extremes
========================  =======================================================

A file imports only from files above it; ``switchover.py`` has the common options from
``__main__.py``.
"""
