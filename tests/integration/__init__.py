"""Scenarios between real clients, pgswitch and real PostgreSQL servers."""
