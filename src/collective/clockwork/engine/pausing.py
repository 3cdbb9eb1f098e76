"""Queues and agents that can be paused: what runs goes on, nothing is begun."""

from __future__ import annotations

from . import clock
from datetime import datetime
from typing import NamedTuple


class Pause(NamedTuple):
    """Who paused it, since when (microseconds), and why; stored as it is."""

    by: str | None
    at_us: int
    reason: str | None

    @property
    def since(self) -> datetime:
        """Since when."""
        return clock.from_us(self.at_us)


class Pausable:
    """The part of a queue or agent that can be paused.

    Workers see it as soon as the caller's transaction is committed: jobs that run go
    on, claimed ones that were not begun go back, and nothing is claimed until
    ``resume``. Queueing goes on.
    """

    #: Written by hand; the second of two who do it at once gets a ConflictError.
    paused: Pause | None = None

    def pause(self, by: str | None = None, reason: str | None = None) -> None:
        """Begin nothing any more; who paused first, and why, stays noted."""
        if self.paused is None:
            self.paused = Pause(by, clock.now_us(), reason)

    def resume(self) -> None:
        """Go on where it stopped."""
        if self.paused is not None:
            self.paused = None
