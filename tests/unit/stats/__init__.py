"""Tests of pgswitch.stats."""
