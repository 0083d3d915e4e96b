"""Tests of pgswitch.relay."""
