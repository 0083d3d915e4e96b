"""What the log is told of a node that cannot be asked: soon, and then now and again."""

from __future__ import annotations

import re
from dataclasses import dataclass

LONG_S = 2.0
"""A node that was restarted or refused us once is no news; one that fails longer is."""
AGAIN_S = 60.0
_ABOUT_LOGINS = re.compile(r"password|authenti|scram|\brole\b|pg_hba", re.IGNORECASE)
_HINT = (
    "; the monitor logs in with user and password of the entry,"
    " without a password with the user's secret in auth_file"
)


@dataclass(slots=True)
class NodeFailureLog:
    """The trouble with one node; times in monotonic seconds."""

    since: float | None = None
    """When the first attempt began that failed; None: the last one went well."""
    told_at: float = float("-inf")
    told: str = ""
    """The last words."""

    def over(self) -> None:
        """Note that the node has answered."""
        self.since = None
        self.told_at = float("-inf")
        self.told = ""

    def line(self, words: str, began: float, now: float, *, at_once: bool) -> str:
        """Return what the log is to be told of an attempt that failed, or nothing.

        ``began`` is when it began.  ``at_once``: the node lives and has said why, which
        nothing but a change there or here will mend; other words are told at once too.
        """
        if self.since is None:
            self.since = began
        is_new = at_once and words != self.told
        is_long = now - self.since >= LONG_S and now - self.told_at >= AGAIN_S
        if not is_new and not is_long:
            return ""
        self.told_at, self.told = now, words
        lasting = "" if is_new else f", for {now - self.since:.0f} s"
        hint = _HINT if _ABOUT_LOGINS.search(words) else ""
        return f"cannot be asked{lasting}: {words}{hint}"
