"""Counting: integers on the hot path, averages of a period off it."""
