"""Tests of the manhole."""
