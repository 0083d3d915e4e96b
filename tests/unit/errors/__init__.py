"""Tests of pgswitch/errors/."""
