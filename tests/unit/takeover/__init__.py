"""Tests of handing connections over to another process."""
