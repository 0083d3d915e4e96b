"""Tests of pgswitch.topology."""
