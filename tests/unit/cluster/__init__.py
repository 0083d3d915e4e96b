"""Tests of pgswitch.cluster."""
