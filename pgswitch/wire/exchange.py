"""What a client has asked and a server has not answered yet.

Theory of operation (hot path).  Each request that will be answered is one integer
in a queue: its type byte, plus flags when the pooler changes the reply.  Each reply
that completes a request takes it from the head.  The rules, from the manual's
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
  next Sync, simple queries included; so does the exchange, also with requests that
  come only later.
* While the server takes COPY data it ignores Sync.  Whether it read a Sync while it
  did so, or after the COPY had failed, is unknown before the next answer: such a
  Sync is a ``MAYBE``.  When the COPY succeeds, all up to its CopyDone were ignored.
  When it fails, each may still be answered.  A reply other than ReadyForQuery settles
  those before the request that it belongs to; when nothing else is outstanding, we
  send a ``FENCE`` behind them, whose own reply settles them.
* CopyDone and CopyFail may be sent ahead, so they stand in the queue as well; outside
  a COPY the server drops them, and so does the exchange when they come to the head.
* Parse, Bind, Describe, Execute and their Sync, sent at once, are one entry when no
  reply is to be changed (``BATCH``): whatever fails, the server skips to that very
  Sync, so only its ReadyForQuery matters.  If the Execute, the last before it, begins
  a COPY, the entry becomes that Execute and a Sync that may be ignored.
* ReadyForQuery always settles the queue up to its request, so a surprise between
  two of them cannot leave the two ends apart for long.

Every message asks what stands in the queue, so each entry is looked at once and the
result kept (:meth:`Exchange._survey`): a pipeline may be long.

The exchange is *clean* when the server's last message was ReadyForQuery, idle, and
nothing is left to answer.  This file alone judges that, and a server is given back to
its pool only then.

This file is written in the typed subset that mypyc compiles and also runs as it is.
"""

from __future__ import annotations

from typing import Final, Protocol

from pgswitch.wire.constants import (
    BIND,
    BIND_COMPLETE,
    CLOSE,
    CLOSE_COMPLETE,
    COMMAND_COMPLETE,
    COPY_DONE,
    COPY_FAIL,
    DESCRIBE,
    EMPTY_QUERY_RESPONSE,
    EXECUTE,
    FUNCTION_CALL,
    NO_DATA,
    PARSE,
    PARSE_COMPLETE,
    PORTAL_SUSPENDED,
    QUERY,
    ROW_DESCRIPTION,
    STATUS_IDLE,
    SYNC,
    SYNC_MESSAGE,
)
from pgswitch.wire.encode import message

TYPE: Final = 0xFF
SWALLOW: Final = 0x100
"""Our own request: the client must not see the reply."""
FAKE: Final = 0x200
"""The server does not get the request: we make the reply when its turn comes."""
NAMED: Final = 0x400
"""A note about a prepared statement goes with this request (see prepared.py)."""
REWORDED: Final = 0x800
"""Sent in place of a refused request: the client gets our error, not the server's."""
SQL: Final = 0x1000
"""Its text is SQL about prepared statements; statements.py notes what it does."""
ENDS_BATCH: Final = 0x2000
"""Ends a whole query of the extended protocol; see BATCH."""
MAYBE: Final = 0x4000
"""A Sync that the server has ignored if it was taking COPY data when it read it."""
INTERNAL: Final = 0x8000
"""Ends an internal query, sent in front of a request that waits.

Its ReadyForQuery is ours, unless the internal query failed; then the error is the
answer to the request."""
FENCE: Final = 0x10000
"""Our own request, surely answered: its answer settles all that stands before it."""
RESETS: Final = 0x20000
"""It resets parameters to what the session began with."""

BATCH: Final = 0x2053
"""SYNC | ENDS_BATCH: a Sync with all that it ends, sent at once, as one entry.

It is a literal because mypyc does not fold an expression of another file's constants.
"""

_COMPLETES: Final[dict[int, int]] = {
    PARSE_COMPLETE: PARSE,
    BIND_COMPLETE: BIND,
    CLOSE_COMPLETE: CLOSE,
    ROW_DESCRIPTION: DESCRIBE,
    NO_DATA: DESCRIBE,
    COMMAND_COMPLETE: EXECUTE,
    EMPTY_QUERY_RESPONSE: EXECUTE,
    PORTAL_SUSPENDED: EXECUTE,
}
COMPLETES: Final = bytes(_COMPLETES.get(reply, 0) for reply in range(256))
"""By reply type: the type of the request it completes, or 0."""

FENCE_MESSAGES: Final = message(CLOSE, b"SPGBOUNCER_0\0") + SYNC_MESSAGE
"""Close of what may or may not be there, and Sync: answered in any case."""
PROBE_MESSAGES: Final = (
    message(CLOSE, b"SPGBOUNCER_PROBE\0")
    + SYNC_MESSAGE
    + message(PARSE, b"PGBOUNCER_PROBE\0\0\0\0")
    + message(CLOSE, b"SPGBOUNCER_PROBE\0")
    + SYNC_MESSAGE
)
"""The same, and a Parse of nothing, which cannot fail; see :meth:`Exchange.probe`."""
COMPACT_AFTER: Final = 1000
"""Settled entries that a long pipeline's queue may carry before they are dropped."""
NOTHING: Final[list[int]] = []
"""Returned often, and never changed."""
_SYNTHETIC: Final = SWALLOW | FAKE | REWORDED


class Listener(Protocol):
    """Waits for answers; see relay/interceptor.py."""

    def recheck(self) -> None:
        """Go on if what it waits for has come."""


class Exchange:
    """The requests of one client that its server has still to answer."""

    def __init__(self) -> None:
        """Begin without requests."""
        self.queue: list[int] = []
        self.head = 0
        self.status = STATUS_IDLE
        """Transaction status of the last ReadyForQuery."""
        self.clean = True
        self.copying = False
        """The server takes COPY data from the client."""
        self.skipping = False
        """The server skips all requests before the next Sync."""
        self.open = False
        """A Sync is still to follow: requests before it may be skipped.

        A Query does not end that, since it may be skipped as well."""
        self.executes = False
        """One of them is an Execute."""
        self.synthetic_count = 0
        """How many requests in the queue carry SWALLOW, FAKE or REWORDED.

        One more while :attr:`listener` waits for the answers, and one more while
        :attr:`awaited`.
        """
        self.listener: Listener | None = None
        """Called after each chunk of a server while :attr:`synthetic_count` is set."""
        self.awaited = False
        """The client's stream holds what comes until a request is answered."""
        self.internal_query = False
        """What it holds waits for an internal query that this server runs first."""
        self.refusal = b""
        """The ErrorResponse for a REWORDED request."""
        self.answered = 0
        """The request that the last ReadyForQuery answered; 0: none of them."""
        self.internal_query_failed = False
        """The error of an internal query was the answer to the request behind it."""
        self.unsettled = 0
        """How many in the queue are MAYBE; one more while :attr:`skips_here`."""
        self._ends = 0
        """How many CopyDone and CopyFail stand in the queue."""
        self._fences = 0
        self._may_skip = False
        """A COPY of the extended protocol failed; a MAYBE may end the skipping."""
        self.data_ahead = False
        """Data of a COPY were sent behind what may be a MAYBE, and no Sync since."""
        self._probing = False
        """A probe was sent, and its answer is to come."""
        self.withheld: list[int] = []
        """Status of each ReadyForQuery that came meanwhile: the client's, or ours."""
        self.is_forced = False
        """What was held back in a COPY has waited long enough for an error."""
        self.held_for = 0
        """How often the maintenance has seen it wait."""
        self.skips_here = False
        """Our probe has ended the server's skipping, so we skip for it."""
        self.surveyed = 0
        """The queue was surveyed up to here.  The last of each kind was at:"""
        self._last_end = -1
        """a request that ReadyForQuery answers,"""
        self._last_sync = -1
        """a Sync that is no MAYBE,"""
        self._last_copy = -1
        """what may be a COPY,"""
        self._last_execute = -1
        """an Execute,"""
        self._last_swallowed = -1
        """what makes a Sync behind it one that a COPY may swallow, if still queued."""
        self.resets = False
        """A request with RESETS was completed, and no ReadyForQuery has come since."""
        self.query_start = 0.0
        """When the open query began, in monotonic seconds; 0.0: none is open."""
        self.transaction_start = 0.0

    # Requests.

    def request(self, entry: int) -> None:
        """Note a request: its type byte, with flags."""
        self.clean = False
        kind = entry & TYPE
        if kind == SYNC:
            self.open = self.executes = self.data_ahead = False
            if entry == SYNC and self.copying and self._ends == 0:
                entry = SYNC | MAYBE
                self.unsettled += 1
        elif kind != QUERY and kind != FUNCTION_CALL:
            self.open = True
            if kind == EXECUTE:
                self.executes = True
        self.queue.append(entry)
        if entry > TYPE:
            if entry & _SYNTHETIC:
                self.synthetic_count += 1
            if entry & FENCE:
                self._fences += 1

    def restore(self, queue: list[int], status: int, refusal: bytes) -> None:
        """Take over the queue of another process."""
        for entry in queue:
            self.queue.append(entry)
            if entry & _SYNTHETIC:
                self.synthetic_count += 1
            if entry & MAYBE:
                self.unsettled += 1
            if entry & FENCE:
                self._fences += 1
            if entry == COPY_DONE or entry == COPY_FAIL:
                self._ends += 1
        self.status = status
        self.refusal = refusal

    def doubts(self) -> list[bool]:
        """Return what is unknown, for another process to go on with."""
        return [
            self._may_skip,
            self.data_ahead,
            self._probing,
            self.skips_here,
            self.executes,
            self.internal_query_failed,
        ]

    def take_doubts(self, doubts: list[bool]) -> None:
        """Take over what was unknown in another process."""
        (
            self._may_skip,
            self.data_ahead,
            self._probing,
            self.skips_here,
            self.executes,
            self.internal_query_failed,
        ) = doubts
        self.unsettled += self.skips_here

    def copy_data_ended(self, message_type: int) -> None:
        """Note the client's CopyDone or CopyFail; late ones do not count."""
        if self._may_copy():
            self.queue.append(message_type)
            self._ends += 1
            self.copy_data_sent()

    def copy_data_sent(self) -> None:
        """Note data of a COPY, or its end, which may make it fail.

        If a Sync stands before them, it depends on when the server fails whether that
        Sync ends the skipping: no further request is sent before that is known.
        """
        self.data_ahead = self._is_synced_copy()

    def _is_synced_copy(self) -> bool:
        """Tell whether a Sync is outstanding that a COPY may swallow."""
        self._survey()
        return self._last_swallowed >= self.head

    def _may_copy(self) -> bool:
        """Tell whether something that is outstanding may be a COPY."""
        self._survey()
        return self._last_copy >= self.head

    def _survey(self) -> None:
        """Look at the entries that were appended since the last survey."""
        queue = self.queue
        for at in range(max(self.surveyed, self.head), len(queue)):
            entry = queue[at]
            kind = entry & TYPE
            if kind == SYNC:
                self._last_end = at
                if entry & MAYBE:
                    self._last_swallowed = at
                else:
                    self._last_sync = at
                    if entry == BATCH:
                        self._last_swallowed = self._last_copy = at
                    elif self._last_execute > self._last_swallowed:
                        self._last_swallowed = self._last_execute
            elif kind == QUERY:
                self._last_end = self._last_copy = at
            elif kind == FUNCTION_CALL:
                self._last_end = at
            elif kind == EXECUTE:
                self._last_execute = self._last_copy = at
        self.surveyed = len(queue)

    def survey_again(self) -> None:
        """Survey the whole queue next time: it has changed other than at its end."""
        self.surveyed = 0
        self._last_end = self._last_sync = self._last_copy = -1
        self._last_execute = self._last_swallowed = -1

    def copy_end_sent(self) -> bool:
        """Tell whether a CopyDone or CopyFail is on its way to the server."""
        return self._ends > 0

    def refuse_last(self, refusal: bytes) -> None:
        """Have the client get this error for the last request, not the server's."""
        self.queue[-1] |= REWORDED
        self.synthetic_count += 1
        self.refusal = refusal

    # Questions.

    def head_is_refused(self) -> bool:
        """Tell whether an error that comes now is to be replaced by :attr:`refusal`."""
        return (
            self.head < len(self.queue)
            and self.queue[self.head] & REWORDED != 0
            and not self.skipping
        )

    def outstanding(self) -> int:
        """Return how many requests wait for their answer."""
        return len(self.queue) - self.head

    def is_in_pipeline(self) -> bool:
        """Tell whether a Sync is still to follow."""
        return self.open

    def ends_are_outstanding(self) -> bool:
        """Tell whether a request stands in the queue that ReadyForQuery answers."""
        self._survey()
        return self._last_end >= self.head

    def keeps_answers(self) -> bool:
        """Tell whether the server may keep its last answer until a Flush."""
        if self.head == len(self.queue) or self.skips():
            return False
        if self.data_ahead:
            return True  # Its Sync may be one that a COPY has swallowed.
        at = len(self.queue) - 1
        while at > self.head and self.queue[at] in (COPY_DONE, COPY_FAIL):
            at -= 1
        last = self.queue[at] & TYPE
        return last != SYNC and last != QUERY and last != FUNCTION_CALL

    def will_answer(self) -> bool:
        """Tell whether the server answers what is outstanding without more messages."""
        if self.head == len(self.queue) or self.skips():
            return False
        return not self.copying or self._ends > 0

    def skips(self) -> bool:
        """Tell whether the server will skip a request sent now, as far as is known."""
        if not self.skipping and not self._may_skip:
            return False
        self._survey()
        return self._last_sync < self.head

    def is_reset(self) -> bool:
        """Tell whether a parameter that is reported now was reset."""
        if self.resets:
            return True
        return self.head < len(self.queue) and self.queue[self.head] & RESETS != 0

    def head_is_fake(self) -> bool:
        """Tell whether the next reply is one that we make."""
        return (
            self.head < len(self.queue)
            and self.queue[self.head] & FAKE != 0
            and not self.skipping
        )

    def must_settle(self) -> bool:
        """Tell whether it is unknown if the server will skip a request sent now.

        Or whether the request would end the connection, in the midst of a COPY: unless
        that has failed, and its error is on the way.
        """
        if self.copying and self._ends == 0:
            return not self.is_forced
        if self.head == len(self.queue):
            return False
        if self.data_ahead:
            self.data_ahead = self._is_synced_copy()
        return self.data_ahead or self.wants_probe()

    def wants_probe(self) -> bool:
        """Tell whether only a probe can show if the server skips."""
        if not self._may_skip or self._probing or self.head == len(self.queue):
            return False
        return self._behind_maybes() == len(self.queue)

    def fence(self) -> None:
        """Note FENCE_MESSAGES."""
        self.request(CLOSE | SWALLOW | FENCE)
        self.request(SYNC | SWALLOW)

    def probe(self) -> None:
        """Note PROBE_MESSAGES: Close, Sync, Parse, Close, Sync.

        A server that skips answers the first Sync, then ParseComplete; one that does
        not, CloseComplete first of all, behind its answers to the MAYBEs.
        """
        self.request(CLOSE | SWALLOW | FENCE)
        self.request(SYNC | SWALLOW)
        self.request(PARSE | SWALLOW)
        self.request(CLOSE | SWALLOW)
        self.request(SYNC | SWALLOW)
        self._probing = True

    def probed(self, reply: int) -> list[int]:
        """Note an answer to a probe; return the status of each ReadyForQuery due."""
        due: list[int] = []
        if reply == CLOSE_COMPLETE:
            # It does not skip: the answers so far were those to MAYBEs.
            due = self.withheld
            while not self.queue[self.head] & FENCE:
                self._pop()
        elif reply == PARSE_COMPLETE:
            # It did: the first answer was that to our Sync, and it skips no more.
            while self.queue[self.head] & TYPE != PARSE:
                self._pop()
            self.skips_here = self.open = True
            self.unsettled += 1
        else:
            return due
        self._probing = self._may_skip = False
        self.withheld = []
        return due

    def is_probing(self) -> bool:
        """Tell whether the answer to a probe is to come."""
        return self._probing

    def skipped_here(self) -> None:
        """Note the client's Sync: requests behind it are not skipped."""
        self.skips_here = False
        self.unsettled -= 1

    def wants_fence(self) -> bool:
        """Tell whether only the answer to a fence can settle the queue."""
        if self._fences or self._may_skip or self.head == len(self.queue):
            return False
        return self._behind_maybes() == len(self.queue)

    # Replies.

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
            if self.surveyed:
                self.survey_again()
        elif self.head > COMPACT_AFTER and self.head > len(self.queue) >> 1:
            # Half of it at least, so that each entry is moved once on average.
            del self.queue[: self.head]
            self._moved(self.head)
            self.head = 0
        if entry > TYPE:
            self._flags_gone(entry)
        elif entry == COPY_DONE or entry == COPY_FAIL:
            self._ends -= 1
        return entry

    def _moved(self, by: int) -> None:
        """Note that the queue has lost so many entries at its beginning."""
        self.surveyed = max(self.surveyed - by, 0)
        self._last_end = max(self._last_end - by, -1)
        self._last_sync = max(self._last_sync - by, -1)
        self._last_copy = max(self._last_copy - by, -1)
        self._last_execute = max(self._last_execute - by, -1)
        self._last_swallowed = max(self._last_swallowed - by, -1)

    def _flags_gone(self, entry: int) -> None:
        """Note that a request with flags has left the queue."""
        if entry & _SYNTHETIC:
            self.synthetic_count -= 1
        if entry & MAYBE:
            self.unsettled -= 1
        if entry & FENCE:
            self._fences -= 1

    def _drop_ends(self) -> None:
        """Drop what the server drops: the end of a COPY that is not under way."""
        while self.head < len(self.queue):
            if (
                self.queue[self.head] != COPY_DONE
                and self.queue[self.head] != COPY_FAIL
            ):
                return
            self._pop()

    def _drop_maybes(self) -> None:
        """Drop the head's MAYBEs: the request answered now stands behind them."""
        if self._behind_maybes() < len(self.queue):
            while self.queue[self.head] & MAYBE:
                self.take()

    def _behind_maybes(self) -> int:
        """Return the place behind the head's MAYBEs.

        CopyDone and CopyFail right behind them are dropped: the COPY is over, so that
        the server drops them as well, whatever became of the MAYBEs.
        """
        at = self.head
        while at < len(self.queue):
            entry = self.queue[at]
            if entry & MAYBE:
                at += 1
            elif self.copying or at == self.head:
                break
            elif entry == COPY_DONE or entry == COPY_FAIL:
                del self.queue[at]
                self.survey_again()
                self._ends -= 1
            else:
                break
        return at

    def completed(self, reply: int) -> int:
        """Note a reply; return the request that it completes, or 0."""
        if self.unsettled and self.head < len(self.queue):
            if self.queue[self.head] & MAYBE:
                self._drop_maybes()
        if self.copying and reply == COMMAND_COMPLETE:
            return self._copied()
        if self.head < len(self.queue):
            if self.queue[self.head] & TYPE == COMPLETES[reply]:
                return self.take()
        return 0

    def copy_started(self) -> None:
        """Note CopyInResponse or CopyBothResponse.

        The server may read a Sync right behind the statement first now, and ignore it.
        """
        if self.unsettled and self.head < len(self.queue):
            if self.queue[self.head] & MAYBE:
                self._drop_maybes()
        self.copying = True
        if self.head == len(self.queue):
            return
        if self.queue[self.head] == BATCH:
            self.queue[self.head] = EXECUTE
            self.queue.insert(self.head + 1, SYNC)
        self.survey_again()
        after = self.head + 1
        while after < len(self.queue) and self.queue[after] == SYNC:
            self.queue[after] = SYNC | MAYBE
            self.unsettled += 1
            after += 1

    def failed(self) -> list[int]:
        """Note ErrorResponse; return the requests that the server now skips.

        The first of them is the one that failed.
        """
        skipped: list[int] = []
        if self.unsettled and self.head < len(self.queue):
            if self.queue[self.head] & MAYBE:
                self._drop_maybes()
        if self.head == len(self.queue):
            return skipped
        first = self.queue[self.head] & TYPE
        if self.copying:
            self.copying = False
            self._may_skip = first == EXECUTE
            self.data_ahead = False
            self._drop_end_behind_head()
        if first == QUERY or first == FUNCTION_CALL or first == SYNC:
            self._internal_failed()
            return skipped
        while self.head < len(self.queue) and self.queue[self.head] & TYPE != SYNC:
            skipped.append(self.take())
        self.skipping = self.head == len(self.queue)
        self._internal_failed()
        # Behind the MAYBEs nothing but Syncs can be skipped; see copy_data_sent.
        at = self._behind_maybes()
        if at == self.head or at < len(self.queue):
            self._may_skip = False
        return skipped

    def _internal_failed(self) -> None:
        """Let the client see the head's ReadyForQuery, if an internal query failed."""
        if self.head < len(self.queue) and self.queue[self.head] & INTERNAL:
            self.queue[self.head] &= ~(SWALLOW | INTERNAL)
            self.synthetic_count -= 1
            self.internal_query_failed = True

    def _drop_end_behind_head(self) -> None:
        """Drop the end of the COPY at the head, which has failed; later ones stay.

        It stands behind nothing but Syncs: anything else would have been the end of
        the connection, so it was read when the COPY was over.
        """
        at = self.head + 1
        while at < len(self.queue) and self.queue[at] & MAYBE:
            at += 1
        if at < len(self.queue):
            if self.queue[at] == COPY_DONE or self.queue[at] == COPY_FAIL:
                del self.queue[at]
                self.survey_again()
                self._ends -= 1

    def ready(self, status: int) -> list[int]:
        """Note ReadyForQuery; return requests that it left unanswered (normally none).

        The one that it answers is :attr:`answered` then.
        """
        self.status = status
        self.copying = self.resets = False
        if self._probing:
            self.withheld.append(status)
            self.answered = SYNC | SWALLOW
            return NOTHING
        if len(self.queue) == 1 and not self.skipping:
            # The plain case, one simple Query or the last Sync.
            if self.queue[0] <= TYPE or self.queue[0] == BATCH:
                self.answered = self.queue[0]
                self.queue.clear()
                if self.surveyed:
                    self.survey_again()
                self.open = False
                self.clean = status == STATUS_IDLE
                return NOTHING
        passed: list[int] = []
        self.answered = 0
        while self.head < len(self.queue):
            if self.queue[self.head] & MAYBE:
                self.answered = self._answer_sync()
                break
            entry = self.take()
            kind = entry & TYPE
            if kind == SYNC:
                self.answered = entry
                break
            if (kind == QUERY or kind == FUNCTION_CALL) and not self.skipping:
                self.answered = entry
                break
            passed.append(entry)
        self.skipping = self._may_skip = self.is_forced = False
        if self.head == len(self.queue):
            self.open = False
            self.clean = status == STATUS_IDLE and not self.skips_here
        else:
            self.clean = False
        return passed

    def _answer_sync(self) -> int:
        """Remove the Sync that was answered, out of several of which one may not be.

        They are indistinguishable, so one that is surely answered counts as the one.
        """
        at = self._behind_maybes()
        if at < len(self.queue) and self.queue[at] == SYNC:
            del self.queue[at]
            self.survey_again()
            return SYNC
        return self.take()

    def forget(self) -> list[int]:
        """Forget all requests, as their server is lost; return them."""
        forgotten = self.queue[self.head :]
        while self.head < len(self.queue):
            self._pop()
        self.copying = False
        self.skipping = False
        self.open = self.executes = False
        self.status = STATUS_IDLE
        self.clean = True
        self.refusal = b""
        self._may_skip = self.data_ahead = self._probing = False
        self.withheld = []
        if self.skips_here:
            self.skipped_here()
        self.stop_waiting()
        self.internal_query_failed = False
        return forgotten

    def await_answers(self) -> None:
        """Have the client's stream retry after each chunk of the server."""
        if not self.awaited:
            self.awaited = True
            self.synthetic_count += 1

    def stop_waiting(self) -> None:
        """Undo :meth:`await_answers`."""
        self.internal_query = False
        self.held_for = 0
        if self.awaited:
            self.awaited = False
            self.synthetic_count -= 1

    def _copied(self) -> int:
        """Settle everything up to the client's CopyDone: the COPY went well.

        Returns the Execute that it was, 0 for the COPY of a Query, which goes on.
        """
        self.copying = self.data_ahead = False
        for index in range(self.head + 1, len(self.queue)):
            entry = self.queue[index]
            if entry == COPY_DONE or entry == COPY_FAIL:
                first = self.queue[self.head]
                settled = index + 1 - self.head
                for _ in range(settled):
                    self._pop()
                if first & TYPE != QUERY:
                    self._drop_ends()
                    return first
                # ReadyForQuery is still to come for the simple Query, and perhaps
                # another COPY before it.
                self.queue.insert(self.head, first)
                self.survey_again()
                if first & _SYNTHETIC:
                    self.synthetic_count += 1
                return 0
            if not entry & MAYBE:
                break
        if self.head < len(self.queue) and self.queue[self.head] & TYPE == EXECUTE:
            return self.take()
        return 0
