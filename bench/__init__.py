"""What pgswitch costs beside other poolers, measured on one machine in one run.

======================  =========================================================
file                    what it knows
======================  =========================================================
``contenders.py``       the poolers: how each is configured, started and measured
``work.py``             the loads: what is done through a pooler, and how much
``report.py``           medians, ratios, targets; table, JSON and picture
``__main__.py``         the order of things: rounds interleaved, so that a slow
                        minute of a shared machine falls on all of them
======================  =========================================================
"""
