"""Counters and times of each pool, and the averages and percentiles made of them."""
