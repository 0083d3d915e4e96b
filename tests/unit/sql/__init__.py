"""Tests of pgswitch.sql."""
