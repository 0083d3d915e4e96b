"""A protocol factory that calls a function of a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Factory


class CallFactory(Factory):
    """Builds protocols by calling a function with the address."""

    noisy = False

    def __init__(self, build: Callable[[Any], Any]) -> None:
        """Take the function."""
        self._build = build

    def buildProtocol(self, addr: Any) -> Any:  # noqa: ANN401 - as Twisted has it
        """Call it."""
        return self._build(addr)
