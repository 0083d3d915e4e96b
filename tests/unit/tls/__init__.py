"""Tests of TLS without sockets."""
