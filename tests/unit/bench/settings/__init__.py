"""Tests of bench/settings."""
