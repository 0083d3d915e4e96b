"""What a client has asked and a server has not answered yet.

Theory of operation (hot path).  Each request that will be answered is one integer
in a queue: its type byte, plus flags when the pooler meddles with the reply.  Each
reply that completes a request takes it from the head.  The rules, from the manual's
"Message Flow" chapter and from the server's own behaviour:

====================  ==================================================
request               completed by
====================  ==================================================
Query, FunctionCall   ReadyForQuery
Sync                  ReadyForQuery
Parse                 ParseComplete
Bind                  BindComplete
Describe              RowDescription or NoData
Execute               CommandComplete, EmptyQueryResponse, PortalSuspended
Close                 CloseComplete
====================  ==================================================

* ErrorResponse to one of the last five makes the server skip everything up to the
  next Sync, simple queries included; so do we, also with what comes only later.
* While the server takes COPY data it ignores Sync; what was asked up to the
  CopyDone or CopyFail is therefore settled when the copy ends.  A client may have sent
  these two ahead, so they stand in the queue as well; outside of a COPY the server
  drops them, and so do we when they come to the head.
* Parse, Bind, Describe, Execute and their Sync, sent at once, are one entry when no
  reply is to be meddled with (``BATCH``): whatever fails, the server skips to that very
  Sync, so only its ReadyForQuery tells anything.  Should the Execute, the last before
  it, begin a COPY, the entry becomes that Execute, for the server ignores the Sync.
* ReadyForQuery always settles the queue up to its request, so a surprise between
  two of them cannot leave the two ends apart for long.

The exchange is *clean* when the last thing the server said was ReadyForQuery, idle,
and nothing is left to answer.  This file alone judges that, and a server is given
back to its pool only then.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from typing import Final, Protocol

IDLE: Final = 0x49
IN_TRANSACTION: Final = 0x54
FAILED: Final = 0x45

TYPE: Final = 0xFF
SWALLOW: Final = 0x100
"""The reply is ours, the client must not see it."""
FAKE: Final = 0x200
"""The server was not asked, the reply is made by us when its turn comes."""
NAMED: Final = 0x400
"""A note about a prepared statement goes with this request (see prepared.py)."""
SQL: Final = 0x1000
"""A statement with a note in sql_prepared.py; perhaps of the Query behind it."""
REFUSED: Final = 0x800
"""Asked in place of something refused: its error is told in our words."""

QUERY: Final = 0x51
FUNCTION_CALL: Final = 0x46
SYNC: Final = 0x53
PARSE: Final = 0x50
BIND: Final = 0x42
DESCRIBE: Final = 0x44
EXECUTE: Final = 0x45
CLOSE: Final = 0x43
COPY_DONE: Final = 0x63
COPY_FAIL: Final = 0x66
BATCH: Final = SYNC | 0x2000
"""A Sync with all that it ends, sent at once: only the end of it is noted."""

_COMPLETES: Final[dict[int, int]] = {
    0x31: PARSE,  # ParseComplete
    0x32: BIND,  # BindComplete
    0x33: CLOSE,  # CloseComplete
    0x54: DESCRIBE,  # RowDescription
    0x6E: DESCRIBE,  # NoData
    0x43: EXECUTE,  # CommandComplete
    0x49: EXECUTE,  # EmptyQueryResponse
    0x73: EXECUTE,  # PortalSuspended
}
COMPLETES: Final = bytes(_COMPLETES.get(reply, 0) for reply in range(256))
"""By reply type: the type of the request it completes, or 0."""


COMMAND_COMPLETE: Final = 0x43
COMPACT_AFTER: Final = 1000
"""Settled entries that a long pipeline's queue may carry before they are dropped."""
NOTHING: Final[list[int]] = []


class Listener(Protocol):
    """Wants to know when nothing is left to answer; see relay/gate.py."""

    def go_on(self) -> None:
        """Look whether there is something to do now."""


class Exchange:
    """The requests of one client that its server has still to answer."""

    def __init__(self) -> None:
        """Begin with nothing asked."""
        self.queue: list[int] = []
        self.head = 0
        self.status = IDLE
        """Transaction status of the last ReadyForQuery."""
        self.clean = True
        self.copying = False
        """The server takes COPY data from the client."""
        self.skipping = False
        """The server skips whatever comes before the next Sync."""
        self.special = 0
        """How many requests in the queue carry SWALLOW, FAKE or REFUSED.

        One more while :attr:`listener` waits for the answers.
        """
        self.listener: Listener | None = None
        """Told after each chunk of a server while :attr:`special` is set."""
        self.refusal = b""
        """The ErrorResponse for a REFUSED request."""
        self._ends = 0
        """How many CopyDone and CopyFail stand in the queue."""
        self.query_start = 0.0
        """When the open query began, in monotonic seconds; 0.0: none is open."""
        self.transaction_start = 0.0

    def request(self, entry: int) -> None:
        """Note a request: its type byte, with flags.

        A Sync among COPY data is none: the server ignores it (as above all the one
        that libpq sends right behind the statement, here too late for that).
        """
        if self.copying and entry == SYNC and self._ends == 0:
            return
        self.clean = False
        self.queue.append(entry)
        if entry > TYPE:
            if entry & (SWALLOW | FAKE):
                self.special += 1

    def restore(self, queue: list[int], status: int, refusal: bytes) -> None:
        """Go on where another process left off."""
        for entry in queue:
            self.queue.append(entry)
            if entry & (SWALLOW | FAKE | REFUSED):
                self.special += 1
            if entry == COPY_DONE or entry == COPY_FAIL:
                self._ends += 1
        self.status = status
        self.refusal = refusal

    def refuse_last(self, refusal: bytes) -> None:
        """Have the error of the last request told in other words."""
        self.queue[-1] |= REFUSED
        self.special += 1
        self.refusal = refusal

    def head_is_refused(self) -> bool:
        """Tell whether an error that comes now is to be told in our words."""
        return (
            self.head < len(self.queue)
            and self.queue[self.head] & REFUSED != 0
            and not self.skipping
        )

    def outstanding(self) -> int:
        """Return how many requests wait for their answer."""
        return len(self.queue) - self.head

    def is_in_pipeline(self) -> bool:
        """Tell whether the last request was one that a Sync is still to follow."""
        if self.head == len(self.queue):
            return self.status == IDLE and not self.clean
        last = self.queue[-1] & TYPE
        return last != SYNC and last != QUERY and last != FUNCTION_CALL

    def head_is_fake(self) -> bool:
        """Tell whether the next reply is one that we make."""
        return (
            self.head < len(self.queue)
            and self.queue[self.head] & FAKE != 0
            and not self.skipping
        )

    def take(self) -> int:
        """Remove the head and return it; the queue must not be empty."""
        entry = self._pop()
        if self._ends and not self.copying:
            self._drop_ends()
        return entry

    def _pop(self) -> int:
        entry = self.queue[self.head]
        self.head += 1
        if self.head == len(self.queue):
            self.queue.clear()
            self.head = 0
        elif self.head > COMPACT_AFTER:
            del self.queue[: self.head]
            self.head = 0
        if entry & (SWALLOW | FAKE | REFUSED):
            self.special -= 1
        return entry

    def _drop_ends(self) -> None:
        """Drop what the server drops: the end of a COPY that there is not."""
        while self.head < len(self.queue):
            if (
                self.queue[self.head] != COPY_DONE
                and self.queue[self.head] != COPY_FAIL
            ):
                return
            self._pop()
            self._ends -= 1

    def completed(self, reply: int) -> int:
        """Note a reply; return the request that it completes, or 0."""
        if self.copying and reply == COMMAND_COMPLETE:
            return self._copy_ended()
        if self.head < len(self.queue):
            if self.queue[self.head] & TYPE == COMPLETES[reply]:
                return self.take()
        return 0

    def copy_started(self) -> None:
        """Note CopyInResponse or CopyBothResponse.

        A Sync that came right behind the statement is what the server reads first
        now, and ignores.
        """
        self.copying = True
        if self.head < len(self.queue) and self.queue[self.head] == BATCH:
            self.queue[self.head] = EXECUTE
        after = self.head + 1
        while after < len(self.queue) and self.queue[after] == SYNC:
            del self.queue[after]

    def copy_data_ended(self, message_type: int) -> None:
        """Note the client's CopyDone or CopyFail; late ones do not count."""
        if self.head < len(self.queue):
            self.queue.append(message_type)
            self._ends += 1

    def copy_end_sent(self) -> bool:
        """Tell whether the end of a COPY has been sent, and not been answered."""
        return self._ends > 0

    def failed(self) -> list[int]:
        """Note ErrorResponse; return the requests that the server now skips.

        The first of them is the one that failed.
        """
        skipped: list[int] = []
        if self.head == len(self.queue):
            return skipped
        after = self.head
        while self.queue[after] & SQL and after + 1 < len(self.queue):
            after += 1
        if after > self.head and self.queue[after] == QUERY:
            while self.queue[self.head] & SQL:
                skipped.append(self.take())
            return skipped
        first = self.queue[self.head] & TYPE
        if self.copying:
            self._copy_ended()
        if first == QUERY or first == FUNCTION_CALL or first == SYNC:
            return skipped
        while self.head < len(self.queue) and self.queue[self.head] & TYPE != SYNC:
            skipped.append(self.take())
        self.skipping = self.head == len(self.queue)
        return skipped

    def ready(self, status: int) -> list[int]:
        """Note ReadyForQuery; return requests that went unanswered (normally none)."""
        self.status = status
        self.copying = False
        if len(self.queue) == 1 and not self.skipping:
            # The plain case, one simple Query or the last Sync.
            if self.queue[0] <= TYPE or self.queue[0] == BATCH:
                self.queue.clear()
                self.clean = status == IDLE
                return NOTHING
        passed: list[int] = []
        while self.head < len(self.queue):
            entry = self.take()
            kind = entry & TYPE
            if kind == SYNC:
                break
            if (kind == QUERY or kind == FUNCTION_CALL) and not self.skipping:
                break
            passed.append(entry)
        self.skipping = False
        self.clean = status == IDLE and self.head == len(self.queue)
        return passed

    def forget(self) -> list[int]:
        """Forget what is asked, its server being lost; return that."""
        forgotten = self.queue[self.head :]
        while self.head < len(self.queue):
            self._pop()
        self._ends = 0
        self.copying = False
        self.skipping = False
        self.status = IDLE
        self.clean = True
        self.refusal = b""
        return forgotten

    def _copy_ended(self) -> int:
        """Settle everything up to the client's CopyDone or CopyFail."""
        self.copying = False
        for index in range(self.head, len(self.queue)):
            if self.queue[index] == COPY_DONE or self.queue[index] == COPY_FAIL:
                first = self.queue[self.head] & TYPE
                settled = index + 1 - self.head
                for _ in range(settled):
                    self._pop()
                self._ends -= 1
                self._drop_ends()
                if first == QUERY:
                    # ReadyForQuery is still to come for the simple Query.
                    self.queue.insert(self.head, QUERY)
                return 0
        if self.head < len(self.queue) and self.queue[self.head] & TYPE == EXECUTE:
            self.take()
        return 0
