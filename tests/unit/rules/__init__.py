"""Tests of pgswitch.rules."""
