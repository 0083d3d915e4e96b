"""Each setting at its extremes, beside the defaults: ``make settings``.

======================  =========================================================
file                    what it knows
======================  =========================================================
``catalogue.py``        the values that are tried, the settings that are not, and
                        what each value may cost
``pairs.py``            rows in which every two values meet at least once
``judging.py``          the times of a cell, and whether they are too long
``manners.py``          how a client reads and writes: at once, slowly, in bursts,
                        one byte at a time
``client.py``           connections with such manners
``work.py``             the kinds of work, and whether their answers are right
``plan.py``             the rows of a run
``report.py``           the tables
``nursery.py``          poolers that are forked, as hundreds are needed
``stage.py``            PostgreSQL, and poolers with any settings
``course.py``           the cells, measured one after the other
``__main__.py``         the command line
======================  =========================================================

A file imports only from files above it.
"""
