"""What pgswitch costs beside other poolers, measured on one machine in one run.

======================  =========================================================
file                    what it knows
======================  =========================================================
``rows.py``             what is measured, and what each figure must reach
``samples.py``          the figures of each round; medians, ratios, verdicts
``table.py``            the tables that are printed
``chart.py``            the picture
``document.py``         the JSON file, and the figures in docs/performance.md
``progress.py``         how far the run is
``wire.py``             logging in and a first query, without a driver
``idle.py``             a process that holds idle clients
``accounting.py``       CPU time and memory of a process and its children
``contenders.py``       the poolers: how each is configured, started and stopped
``programs.py``         PostgreSQL's client programs, and what pgbench says
``loads.py``            what is done through a pooler, and how much of it
``stage.py``            the PostgreSQL server that all poolers stand before
``encrypted.py``        the same poolers and loads with TLS on both sides
``scram.py``            the same poolers asking for SCRAM
``race.py``             rounds interleaved, so that a slow minute of a shared
                        machine falls on all poolers
``options.py``          the command lines
``__main__.py``         all of it in order
``settings/``           each setting at its extremes, beside the defaults
======================  =========================================================

A file imports only from files above it.
"""
