"""Tests of pgswitch.pool."""
