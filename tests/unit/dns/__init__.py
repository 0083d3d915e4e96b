"""Tests of host names."""
