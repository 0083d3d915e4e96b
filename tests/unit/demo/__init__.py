"""Tests of pgswitch.demo."""
