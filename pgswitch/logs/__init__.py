"""The log: the format of its lines (``lines``) and their destinations (``sinks``).

Plain Python except for ``twisted_log``, so every layer may use it.
"""

from pgswitch.logs.lines import LINE_LIMIT, Level
from pgswitch.logs.log import Log, LogSettings, socket_prefix

__all__ = ["LINE_LIMIT", "Level", "Log", "LogSettings", "socket_prefix"]
