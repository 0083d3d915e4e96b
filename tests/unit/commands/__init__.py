"""Tests of the commands other than serving."""
