"""Tests of the tables of SHOW."""
