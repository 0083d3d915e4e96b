"""Tests of pgswitch.auth."""
