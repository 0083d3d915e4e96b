"""Registers the lean reactor for ``twistd --reactor lean``."""

from twisted.application.reactors import Reactor

lean = Reactor(
    "lean", "pgswitch.net.lean_reactor", "epoll, with a short path to streams"
)
