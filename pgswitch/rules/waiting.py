"""Functions of the user's that take their time: a coroutine, a Deferred, a Future."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from pgswitch.rules.describe import code_of, is_of_a_signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from pgswitch.pool.context import ServiceContext
    from pgswitch.rules.evaluate import RuleResult, RuleSet
    from pgswitch.rules.rule_function import RuleInput


class RuleTimeout(Exception):
    """A function of the user's took longer than rules_timeout."""


class PendingResult:
    """An answer that is yet to come, for as long as rules_timeout allows.

    The time limit holds for each of the two functions.
    """

    def __init__(
        self,
        context: ServiceContext,
        rules: RuleSet,
        question: RuleInput,
        answer: RuleResult,
        done: Callable[[], object],
    ) -> None:
        """Take an answer that says what is awaited; ``done`` is called at the end.

        It is not called when all is there before :meth:`begin` returns.
        """
        self._context = context
        self._rules = rules
        self._question = question
        self._answer = answer
        self._done = done
        self._timer: IDelayedCall | None = None
        self._deferred: Deferred[Any] | None = None
        self._is_late = False
        """The asker was told that the answer comes later."""
        self._turn = 0
        """Counts what was waited for, so that what comes too late is known."""

    def begin(self) -> bool:
        """Wait; return True if all was there at once."""
        self._wait()
        self._is_late = True
        return self._answer.awaited is None

    def _wait(self) -> None:
        """Wait for what the answer says."""
        context = self._context
        seconds = context.configuration.settings.rules_timeout
        self._turn += 1
        turn = self._turn
        if seconds:
            self._timer = context.later(seconds, self._too_late)

        def came(value: object) -> None:
            if turn == self._turn:
                self._rules.came(value, self._question, self._answer)
                self._go_on()

        def failed(failure: Failure) -> None:
            if turn == self._turn:
                value = failure.value
                self._fail(RuntimeError() if value is None else value)

        try:
            self._deferred = as_deferred(self._answer.awaited)
            self._deferred.addCallbacks(came, failed)
        except BaseException as error:
            # Of a class of the user's own.
            if is_of_a_signal(error):
                raise
            if turn == self._turn:
                self._fail(error)

    def give_up(self) -> None:
        """Cancel what is waited for; whatever comes of that is nobody's business."""
        self._turn += 1
        self._stop_timer()
        if self._deferred is None:
            return
        try:
            self._deferred.cancel()
        except BaseException as error:
            # Whoever waits must go on whatever its canceller does.
            if is_of_a_signal(error):
                raise
            self._context.log.error(f"cancelling a rule failed: {code_of(error)}")

    def _too_late(self) -> None:
        seconds = self._context.configuration.settings.rules_timeout
        self.give_up()
        self._fail(RuleTimeout(f"no answer for {seconds:g} s"))

    def _fail(self, error: BaseException) -> None:
        self._rules.failed(error, self._question, self._answer)
        self._go_on()

    def _go_on(self) -> None:
        """Wait for the next thing, or say that all is there."""
        self._stop_timer()
        if self._answer.awaited is not None:
            self._wait()
        elif self._is_late:
            self._done()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()


def as_deferred(awaited: Any) -> Deferred[Any]:  # noqa: ANN401 - the user's
    """Return what a function of the user's gave as a Deferred."""
    if isinstance(awaited, Deferred):
        return awaited

    async def result() -> object:
        return await awaited

    return Deferred.fromCoroutine(result())
