"""Chooses the reactor for the command ``pgswitch``.

``PGSWITCH_REACTOR`` names another of Twisted's (``epoll``, ``poll``, ``select``,
``asyncio``); under ``twistd`` its own option ``--reactor`` does.
"""

from __future__ import annotations

import os
import select
import sys

from twisted.application.reactors import installReactor

LEAN = "lean"


def best() -> str:
    """Return the name of the reactor that :func:`install_best` would install."""
    return os.environ.get("PGSWITCH_REACTOR") or (
        LEAN if hasattr(select, "epoll") else "default"
    )


def install_best() -> None:
    """Install the lean reactor where there is epoll, or the one asked for.

    Does nothing when the process has a reactor already.  Raises
    twisted.application.reactors.NoSuchReactor for an unknown name.
    """
    if "twisted.internet.reactor" in sys.modules:
        return
    name = best()
    if name == LEAN:
        # Not by its plugin: that would read and write the cache of all plugins.
        from pgswitch.net import lean_reactor  # noqa: PLC0415 - needs epoll

        lean_reactor.install()
    else:
        installReactor(name)
