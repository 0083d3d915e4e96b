"""Tests of pgswitch."""
