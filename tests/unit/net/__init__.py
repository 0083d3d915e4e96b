"""Unit tests of the network layer."""
