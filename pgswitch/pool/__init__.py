"""Pools of server connections: who gets one, when one is opened, when one goes."""
