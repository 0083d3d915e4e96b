"""PostgreSQL itself plays each script, and says what is expected."""

from __future__ import annotations

from tests.fuzz.protocol import wire
from tests.fuzz.protocol.judging import Expected, lines
from tests.fuzz.protocol.player import Fenced, Player
from tests.fuzz.protocol.playing import Performance
from tests.fuzz.protocol.script import Round, Script
from tests.fuzz.protocol.stage import Stage
from tests.fuzz.protocol.wire import Message


class Unplayable(Exception):
    """A script that PostgreSQL itself does not get to the end of."""


class Counted(Fenced):
    """Waits for as many ReadyForQuery as PostgreSQL sent, with a fence where unknown.

    From the group ``relaxed_from`` on the answers cannot be known.
    """

    def __init__(self, expected: Expected, script: Script, relaxed_from: int) -> None:
        """Take what PostgreSQL said."""
        super().__init__(script)
        self._expected = expected
        self._last = len(script.groups)
        self._relaxed_from = relaxed_from

    def ending(self, group: int) -> bytes:
        """Return a fence after the last group, and after unknown ones."""
        if group == self._last:
            return wire.fence()
        if group < self._relaxed_from or self.terminates(group):
            return b""
        return wire.FULL_STOP + wire.fence()

    def is_answered(self, group: int, messages: list[Message]) -> bool:
        """Tell whether all has come."""
        if group >= self._relaxed_from or group == self._last:
            return super().is_answered(group, messages)
        if self._expected.closed == group or group >= len(self._expected.groups):
            return False  # Until the end of the connection.
        wanted = sum(one.startswith("Z ") for one in self._expected.groups[group])
        return sum(one.kind == b"Z" for one in messages) >= wanted


def ask(stage: Stage, one: Round, hang_s: float) -> dict[int, Expected]:
    """Return what PostgreSQL says to each client; Unplayable if it does not."""
    players = []
    for script in one.scripts:
        connection, _, parameters = stage.connect_directly()
        # How bytes are cut is nothing to PostgreSQL.
        whole = tuple(group._replace(cuts="one") for group in script.groups)
        player = Player(script._replace(groups=whole), connection, Fenced(script))
        player.parameters.update(parameters)
        players.append(player)
    Performance(players, one.order, hang_s).run()
    for player in players:
        name = f"client {player.script.client}"
        if player.hung:
            raise Unplayable(f"{name} hung")
        closed = player.closed
        if closed is not None and not player.terminates(closed):
            raise Unplayable(f"{name} was cut off in group {closed}")
    return {one.script.client: _expected(one) for one in players}


def _expected(player: Player) -> Expected:
    groups = []
    for messages in player.answers:
        is_whole = wire.is_fenced(messages)
        groups.append(lines(messages[: -wire.FENCES - 1] if is_whole else messages))
    return Expected(groups, player.closed, player.parameters)
