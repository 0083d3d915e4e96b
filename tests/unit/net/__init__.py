"""Unit tests of the network floor."""
