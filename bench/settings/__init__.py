"""Each setting at its extremes, compared with the defaults: ``make settings``.

====================  ===========================================================
file                  what it holds
====================  ===========================================================
``catalogue.py``      the values to try, the settings to leave out, and what each
                      value may cost
``client.py``         connections that read and write at once, slowly, in bursts or
                      byte by byte
``plan.py``           the rows of a run, among them a covering array of pairs
``workload.py``       the kinds of work, and whether their answers are right
``environment.py``    PostgreSQL, and poolers with any settings
``run.py``            the cells, measured one after the other and judged
``report.py``         the tables
``__main__.py``       the command line
====================  ===========================================================

A file imports only from files above it.
"""
