"""Bytes of strangers: random input before a login."""
