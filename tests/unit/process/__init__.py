"""Tests of what ties the service to its process."""
