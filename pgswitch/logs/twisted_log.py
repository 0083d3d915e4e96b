"""Converts events of Twisted's own log into lines of ours.

Twisted logs an exception in a callback and a Deferred's unhandled failure; these must
reach the log that operators read. Its informational events go to DEBUG.
"""

from __future__ import annotations

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from pgswitch.logs import LINE_LIMIT, Log

_TRACEBACK_LIMIT = LINE_LIMIT - 512
"""Maximum characters of a traceback, counted from its end, where the error is."""


@implementer(ILogObserver)
class TwistedLogObserver:
    """Observes ``twisted.logger`` events and writes them to a :class:`Log`."""

    def __init__(self, log: Log) -> None:
        """Write to ``log`` from now on; the caller registers the observer."""
        self._log = log

    def __call__(self, event: LogEvent) -> None:
        """Write one event at the matching level."""
        level = event.get("log_level", LogLevel.info)
        if level >= LogLevel.error:
            self._log.error(describe(event))
        elif level >= LogLevel.warn:
            self._log.warning(describe(event))
        elif self._log.debug_enabled:
            self._log.debug(describe(event))


def describe(event: LogEvent) -> str:
    """Return an event as text: message, exception, end of the traceback."""
    text = formatEvent(event) or "event without text"
    failure = event.get("log_failure")
    if not isinstance(failure, Failure):
        return text
    name = type(failure.value).__name__
    summary = f"{text}: {name}: {failure.getErrorMessage()}"
    trace = failure.getTraceback().rstrip()
    if len(trace) > _TRACEBACK_LIMIT:
        trace = f"...{trace[-_TRACEBACK_LIMIT:]}"
    return f"{summary}\n{trace}"
