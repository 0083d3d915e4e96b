"""Unit tests: no port, no sleep, no real reactor."""
