"""Looking at what waits in a queue; nothing here writes."""

from __future__ import annotations

from . import clock
from . import deadlines
from .base import same
from .places import readable
from collections.abc import Iterator

import heapq


class Listing:
    """The part of a queue that shows what is in it."""

    def next_due(self) -> int | None:
        """Microseconds of the next moment that gives a claim work; None for none."""
        schedule = self.schedule.jobs
        due = [clock.us_of_key(schedule.minKey())] if schedule else []
        first = deadlines.first(self)
        if first is not None:
            due.append(first + 1)
        return min(due, default=None)

    def holder(self, job):
        """The agent that has claimed this job; None if there is none."""
        for agents in self.dispatchers.values():
            for agent in agents.values():
                if agent.claims.entries and agent.holds(job):
                    return agent
        return None

    def __iter__(self) -> Iterator:
        """The waiting jobs in the order in which they are to be claimed.

        Loads them as they are asked for, so looking at the first is cheap.
        """
        now = clock.now_us()
        present = clock.order_key(now)
        held: list = []
        due = [_fallen_due(self.schedule.jobs.items(None, present))]
        due += [_ranked(lane) for lane in self.lanes.values() if lane.length]
        due += [
            _arrived(intake, now, present, held) for intake in self.intakes.values()
        ]
        for _key, job in heapq.merge(*due, key=_by_key):
            yield job
        held.sort(key=_by_key)
        later = self.schedule.jobs.items(present + 1)
        for _key, job in heapq.merge(later, held, key=_by_key):
            yield job

    def __getitem__(self, index: int):
        if index < 0:
            return list(self)[index]
        for position, job in enumerate(self):
            if position == index:
                return job
        raise IndexError(index)

    def __contains__(self, item) -> bool:
        return any(same(item, job) for job in self)

    def __len__(self) -> int:
        waiting = sum(lane.length for lane in self.lanes.values())
        return (
            waiting
            + self.schedule.length
            + sum(len(intake) for intake in self.intakes.values())
        )

    def __bool__(self) -> bool:
        return len(self) > 0


def _arrived(intake, now: int, present: int, held: list) -> Iterator[tuple]:
    """Unread jobs with their keys; those whose time has not come go to ``held``."""
    last = 0
    for _position, job in intake.unread():
        if not readable(job):
            continue
        last = max(job.order_key() or present, last + 1)
        if job.is_held(now):
            held.append((clock.order_key(job._begin_after), job))
        else:
            yield (-job.priority, last), job


def _ranked(lane) -> Iterator[tuple]:
    rank = -lane.priority
    for key, job in lane.jobs.items():
        yield (rank, key), job


def _fallen_due(items) -> Iterator[tuple]:
    """Those of the schedule, which holds jobs of all priorities."""
    due = [((-job._priority if readable(job) else 0, key), job) for key, job in items]
    due.sort(key=_by_key)
    return iter(due)


def _by_key(entry: tuple) -> int:
    return entry[0]
