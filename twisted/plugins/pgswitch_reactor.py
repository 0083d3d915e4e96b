"""Makes the lean reactor known to ``twistd --reactor lean``."""

from twisted.application.reactors import Reactor

lean = Reactor("lean", "pgswitch.net.lean_reactor", "epoll, with a short way to links")
