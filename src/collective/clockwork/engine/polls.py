"""Records of polls: what a dispatcher claimed when it looked into the database.

A dispatcher looks whenever something happened, up to hundreds of times a
second. A poll is recorded only when it claimed something or failed, or when
nothing was recorded for ``poll_interval`` seconds. They are kept in memory,
the newest ones, for the process that made them.
"""

from __future__ import annotations

from . import clock
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from datetime import timezone

import threading


#: Microseconds since 1970 of the last moment that a datetime can tell.
_LAST = clock.to_us(datetime.max.replace(tzinfo=timezone.utc))
#: Low bits of a key that are free, as in zc.async.
_FREE_BITS = 4


def key_of(moment: datetime) -> int:
    """The key of a poll at that moment; later ones have smaller keys.

    A naive datetime is read as UTC, as in zc.async.
    """
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return (_LAST - clock.to_us(moment)) << _FREE_BITS


def moment_of(key: int) -> datetime:
    """The moment of a key, an aware datetime."""
    return clock.from_us(_LAST - (key >> _FREE_BITS))


class PollInfo(dict):
    """One poll: ``{queue name: None | {agent name: {...}}}``, as in zc.async.

    None stands for a queue that this process may not serve. What is told of
    an agent is ``size``, ``len`` and ``active jobs`` (before claiming), ``new
    jobs`` and ``error`` (None or a Failure); jobs are pairs of oid and name of
    the database.
    """

    def __init__(self, key: int, agents: dict | None = None):
        super().__init__(agents or {})
        #: See ``key_of``.
        self.key = key

    @property
    def utc_timestamp(self) -> datetime:
        """When it was; aware, in UTC."""
        return moment_of(self.key)

    def new_jobs(self, queue: str | None = None, agent: str | None = None) -> Iterator:
        """Ids of what was claimed, for all queues and agents or the named ones."""
        for queue_name, agents in self.items():
            if queue not in (None, queue_name):
                continue
            for agent_name, info in (agents or {}).items():
                if agent in (None, agent_name):
                    yield from info["new jobs"]


class Polls:
    """The newest polls, from the newest to the oldest."""

    def __init__(self, size: int = 400):
        self._lock = threading.Lock()
        self._polls: deque[PollInfo] = deque(maxlen=checked_size("polls_size", size))

    @property
    def size(self) -> int:
        """How many are kept."""
        return self._polls.maxlen

    @size.setter
    def size(self, value: int):
        with self._lock:
            kept = list(self._polls)[: checked_size("polls_size", value)]
            self._polls = deque(kept, maxlen=value)

    def add(self, poll: PollInfo) -> None:
        """Record a poll that is newer than all others."""
        with self._lock:
            self._polls.appendleft(poll)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._polls.clear()

    def first(self, at: int | None = None) -> PollInfo:
        """The newest one, or the newest at a key or older; ValueError if none."""
        for poll in self:
            if at is None or poll.key >= at:
                return poll
        raise ValueError("there is no poll" if at is None else f"no poll at {at}")

    def __iter__(self) -> Iterator[PollInfo]:
        with self._lock:
            return iter(list(self._polls))

    def __getitem__(self, key: int) -> PollInfo:
        for poll in self:
            if poll.key == key:
                return poll
        raise KeyError(key)

    def __len__(self) -> int:
        return len(self._polls)


def checked_size(name: str, size: int) -> int:
    """``size``; ValueError unless it is a whole number, 1 or more."""
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ValueError(f"{name} is {size!r}: it must be a whole number, 1 or more")
    return size
