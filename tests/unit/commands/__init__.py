"""Tests of the commands beside serving."""
