"""Tests of what the soak tests check themselves."""
