"""The log: how its lines read, and where they go.

Plain Python but for ``twisted_log``, so that every floor may use it.
"""

from pgswitch.logs.lines import LINE_LIMIT, Level
from pgswitch.logs.log import Log, LogSettings, socket_prefix

__all__ = ["LINE_LIMIT", "Level", "Log", "LogSettings", "socket_prefix"]
