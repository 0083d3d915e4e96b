"""Tests of pgswitch/wire."""
