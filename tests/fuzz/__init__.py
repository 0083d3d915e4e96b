"""Bytes of strangers: whatever comes before a login, tried at random."""
