"""Awaits asynchronous functions of the user: coroutines, Deferreds, Futures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from pgswitch.rules.describe import is_ctrl_c, repr_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from pgswitch.pool.context import ServiceContext
    from pgswitch.rules.evaluate import RuleResult, RuleSet
    from pgswitch.rules.rule_function import RuleInput


class RuleTimeout(Exception):
    """A function of the user took longer than rules_timeout."""


class PendingResult:
    """A result to wait for, up to rules_timeout for each of the two functions."""

    def __init__(
        self,
        context: ServiceContext,
        rules: RuleSet,
        rule_input: RuleInput,
        result: RuleResult,
        done: Callable[[], object],
    ) -> None:
        """Take a result with an awaitable; ``done`` is called when it is complete.

        It is not called if the result is complete before :meth:`begin` returns.
        """
        self._context = context
        self._rules = rules
        self._rule_input = rule_input
        self._result = result
        self._done = done
        self._timer: IDelayedCall | None = None
        self._deferred: Deferred[Any] | None = None
        self._is_asynchronous = False
        """``begin`` has returned False, so ``done`` must be called."""
        self._turn = 0
        """Counts the awaitables, to recognize a value that comes too late."""

    def begin(self) -> bool:
        """Wait; return True if the result is complete at once."""
        self._wait()
        self._is_asynchronous = True
        return self._result.awaited is None

    def _wait(self) -> None:
        """Wait for the result's awaitable."""
        context = self._context
        seconds = context.configuration.settings.rules_timeout
        self._turn += 1
        turn = self._turn
        if seconds:
            self._timer = context.later(seconds, self._time_out)

        def came(value: object) -> None:
            if turn == self._turn:
                self._rules.resume(value, self._rule_input, self._result)
                self._go_on()

        def failed(failure: Failure) -> None:
            if turn == self._turn:
                value = failure.value
                self._fail(RuntimeError() if value is None else value)

        try:
            self._deferred = as_deferred(self._result.awaited)
            self._deferred.addCallbacks(came, failed)
        except BaseException as error:
            # The awaitable may be an instance of the user's class.
            if is_ctrl_c(error):
                raise
            if turn == self._turn:
                self._fail(error)

    def give_up(self) -> None:
        """Cancel the awaitable and ignore its outcome."""
        self._turn += 1
        self._stop_timer()
        if self._deferred is None:
            return
        try:
            self._deferred.cancel()
        except BaseException as error:
            # We must continue, whatever the user's canceller does.
            if is_ctrl_c(error):
                raise
            self._context.log.error(f"cancelling a rule failed: {repr_of(error)}")

    def _time_out(self) -> None:
        seconds = self._context.configuration.settings.rules_timeout
        self.give_up()
        self._fail(RuleTimeout(f"no answer for {seconds:g} s"))

    def _fail(self, error: BaseException) -> None:
        self._rules.resume_failed(error, self._rule_input, self._result)
        self._go_on()

    def _go_on(self) -> None:
        """Wait for the next awaitable, or report that the result is complete."""
        self._stop_timer()
        if self._result.awaited is not None:
            self._wait()
        elif self._is_asynchronous:
            self._done()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()


def as_deferred(awaited: Any) -> Deferred[Any]:  # noqa: ANN401 - the user's
    """Return an awaitable as a Deferred."""
    if isinstance(awaited, Deferred):
        return awaited

    async def result() -> object:
        return await awaited

    return Deferred.fromCoroutine(result())
