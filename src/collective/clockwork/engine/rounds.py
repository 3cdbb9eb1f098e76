"""How far one worker has looked at jobs that its filter refuses.

A filter may refuse all of a long lane. So that a claim costs no more for that, it
looks at a limited number of refused jobs, and the next one goes on behind them, round
after round. This is remembered in memory: a worker that begins anew begins in front.

Inside a quota the order holds among jobs that the filter lets through whenever it is
asked. One that it refused first and would take now is found in the next round.
"""

from __future__ import annotations

from collections.abc import Callable


#: Refused jobs that one claim looks at most.
REFUSED_AT_ONCE = 500


class Rounds:
    """The places in the lanes of one queue, for one agent."""

    def __init__(self):
        #: Names of a lane to the key of the last job that was refused in this
        #: round, and the lane's number of insertions at that time.
        self._places: dict[tuple, tuple[int, int]] = {}
        self._filter: Callable | None = None

    def use(self, filter: Callable | None) -> None:
        """Begin anew if the filter is another one than before."""
        if filter != self._filter:
            self._filter = filter
            self._places.clear()

    def start(self, lane) -> int | None:
        """Key from which on to look at this lane; None for its front."""
        place = self._places.get(lane.names)
        if place is None:
            return None
        key, insertions = place
        if lane.names and insertions != lane.insertions:
            # A job was given back that may be in front of that place, and inside a
            # quota the order holds.
            return None
        return key + 1

    def refused(self, lane, key: int) -> None:
        """All from the front to this key are refused."""
        self._places[lane.names] = (key, lane.insertions)

    def end(self, lane) -> None:
        """The lane was looked at up to its end: begin in front again."""
        self._places.pop(lane.names, None)
