"""Moving jobs between the places of a queue; who calls this is a claimer.

Whatever is moved, is moved in one transaction, and each place is written by
claimers alone, in records without conflict resolution: of two claimers that
take the same job one fails and looks again.

The work of a claim is proportional to what it claims and moves, never to what
waits; of jobs that a filter refuses it looks at a limited number.
"""

from __future__ import annotations

from . import clock
from . import deadlines
from . import unique
from .base import same
from .cancelling import clear_away
from .cancelling import has_withdrawn
from .lanes import Lane
from .places import enter
from .places import lane_names
from .places import leave
from .places import LENT
from .places import park
from .places import readable
from .places import without_priority
from .rounds import REFUSED_AT_ONCE
from .rounds import Rounds
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from itertools import islice
from ZODB.POSException import POSKeyError

import heapq


#: Jobs that one claim moves at most from intakes or the schedule to lanes.
MOVED_AT_ONCE = 500
#: Jobs that are asked for ahead, so that reading them costs one round trip.
PREFETCHED = 128

_BEHIND_ALL = (1 << 63) - 1


class Claim:
    """One look at a queue for at most ``limit`` jobs, in the caller's transaction.

    ``run_length`` is how many jobs of a quota of size 1 may be taken together, and
    ``group_length`` how many groupable ones, to be run one after the other by one
    thread. With ``rounds`` it does not look at all that ``accepts`` refuses, but goes
    on where the last one ended.
    A job under suspicion is taken alone, when ``may_begin`` says so of it; without
    that, like any other.
    """

    def __init__(
        self,
        queue,
        accepts: Callable,
        limit: int,
        now_us: int,
        run_length: int = 1,
        rounds: Rounds | None = None,
        may_begin: Callable | None = None,
        group_length: int = 1,
    ):
        self.queue = queue
        self.accepts = accepts
        self.limit = limit
        self.now_us = now_us
        self.run_length = run_length
        self.group_length = group_length
        self.rounds = rounds
        self.may_begin = may_begin
        #: Order key of what is not committed yet.
        self._present = clock.order_key(now_us)
        #: Whether anything was written.
        self.changed = False
        #: Jobs that turned out to be finished already.
        self.finished: list = []
        #: Jobs that arrived, and replaced another.
        self._replacing: list = []
        #: Whether there may be more to claim for somebody with room.
        self.more = False
        self._runs: list[list] = []
        self._open: dict[tuple, list] = {}
        #: Names of a lane to the last run of groupable jobs of it.
        self._groups: dict[tuple, list] = {}
        self._rooms: dict[str, int] = {}
        self._taken = 0
        self._held = 0
        self._refused = 0
        #: Lanes that something was taken from.
        self._taken_from: set[tuple] = set()
        #: Quotas of lanes in which it broke off among refused jobs.
        self._broken_off: set[str] = set()
        self._leaving: list[tuple[Lane, int, object]] = []
        self._entering: list[tuple[tuple, int, object]] = []
        self._charged: list = []

    def take(self) -> list[list]:
        """Runs of entries (job, attempt, key); nearly always one entry each."""
        self._clear_withdrawn()
        self._fall_due()
        self._expire()
        lanes = [
            self._waiting_in(lane) for lane in self.queue.lanes.values() if lane.length
        ]
        for (_rank, key), job, source, position in heapq.merge(
            *lanes, self._arriving(), key=lambda entry: entry[0]
        ):
            moved = len(self._entering) + self._held
            if self._taken >= self.limit or moved >= MOVED_AT_ONCE:
                self.more = True
                break
            if isinstance(source, Lane):
                self._consider(source, key, job)
            else:
                self._arrive(key, job, source, position)
        self._write()
        return self._runs

    def _clear_withdrawn(self) -> None:
        if has_withdrawn(self.queue):
            self.finished.extend(clear_away(self.queue))
            self.changed = True

    def _fall_due(self) -> None:
        schedule = self.queue.schedule
        if not schedule.length:
            return
        due = list(islice(schedule.jobs.items(None, self._present), MOVED_AT_ONCE))
        for key, job in due:
            schedule.remove(key)
            self.changed = True
            if readable(job):
                enter(self.queue, lane_names(self.queue, job), key, job)
            else:
                park(self.queue, job, self.now_us)

    def _expire(self) -> None:
        """Take jobs that are to be failed, which needs no place in a quota."""
        queue = self.queue
        for entry, (names, key, job) in deadlines.passed(
            queue, self.now_us, MOVED_AT_ONCE
        ):
            if self._taken >= self.limit:
                self.more = True
                return
            del queue.deadlines[entry]
            self.changed = True
            lane = queue.lanes.get(names)
            if lane is None or not same(lane.jobs.get(key), job):
                # It has left, or its begin_by was another when it did.
                continue
            if not readable(job):
                lane.remove(key)
                park(queue, job, self.now_us)
            elif job.is_expired(self.now_us):
                leave(queue, lane, key, job)
                self._admit(names, job, key)
            else:
                deadlines.note(queue, job, names, key)

    def _consider(self, lane: Lane, key: int, job) -> None:
        if not readable(job):
            self._leaving.append((lane, key, None))
            park(self.queue, job, self.now_us)
            return
        # Other ones than the lane's if its quotas were changed or removed, or its
        # outer job waits no more.
        names = lane_names(self.queue, job)
        before = self._refused
        admitted = self._admit(names, job, key)
        if admitted or names != lane.names:
            self._leaving.append((lane, key, job))
        if not admitted and names != lane.names:
            self._entering.append((names, key, job))
        if admitted:
            self._taken_from.add(lane.names)
        elif self.rounds is not None and self._refused > before:
            # Behind one that was taken, and may come back, nothing is left out.
            if lane.names not in self._taken_from:
                self.rounds.refused(lane, key)

    def _waiting_in(self, lane: Lane) -> Iterator[tuple]:
        rounds = self.rounds
        start = None if rounds is None else rounds.start(lane)
        rank = -lane.priority
        for key, job in lane.jobs.items(start):
            if self._blocked(lane.names):
                return
            if rounds is not None and self._refused >= REFUSED_AT_ONCE:
                self._broken_off.update(without_priority(lane.names))
                self.more = True
                return
            yield (rank, key), job, lane, None
        if rounds is not None:
            rounds.end(lane)

    def _arriving(self) -> Iterator[tuple]:
        intakes = list(self.queue.intakes.values())
        # A worker that has just begun knows none of them, and there may be hundreds.
        self._ask_for(intakes)
        self._ask_for(intake.items for intake in intakes)
        filled = [intake for intake in intakes if intake.items]
        self._ask_for(intake.cursor for intake in filled)
        waiting = [intake for intake in filled if len(intake)]
        self._ask_for(job for one in waiting for _, job in islice(one.unread(), 1))
        streams = [self._unread(intake) for intake in waiting]
        return heapq.merge(*streams, key=lambda entry: entry[0])

    def _unread(self, intake) -> Iterator[tuple]:
        last = 0
        for position, job in self._prefetched(intake):
            if self._is_still_to_come(job):
                return
            known = readable(job)
            key = job.order_key() if known else last
            # Who has just been given an intake sees it as it was in the stock.
            rank = -(job if known else intake).priority
            # What is not committed yet keeps its order by different keys.
            last = max(self._present if key is None else key, last + 1)
            yield (rank, last), job, intake, position

    def _is_still_to_come(self, job) -> bool:
        """Whether the other database's half of the put is not there yet.

        Two databases are committed one after the other.
        """
        if job._p_jar is self.queue._p_jar:
            return False
        try:
            job._p_activate()
        except POSKeyError:
            return True
        except Exception:
            # What else is wrong with it is found out when it is read.
            return False
        return False

    def _prefetched(self, intake) -> Iterator[tuple]:
        ahead: list = []
        for entry in intake.unread():
            ahead.append(entry)
            if len(ahead) >= min(PREFETCHED, self.limit + 1):
                self._ask_for(job for _key, job in ahead)
                yield from ahead
                ahead = []
        self._ask_for(job for _key, job in ahead)
        yield from ahead

    def _ask_for(self, objects: Iterable) -> None:
        """Load those of them that are not in memory in one round trip."""
        jar = self.queue._p_jar
        missing = [
            one._p_oid
            for one in objects
            if one._p_changed is None and one._p_jar is jar
        ]
        if len(missing) > 1:
            jar.prefetch(missing)

    def _arrive(self, key: int, job, intake, position: int) -> None:
        intake.read_to(position)
        self.changed = True
        if not readable(job):
            park(self.queue, job, self.now_us)
            return
        if job._replaces is not None:
            self._replacing.append(job)
        if job._status < 2 and job.is_held(self.now_us):
            due = clock.order_key(job._begin_after)
            self.queue.schedule.add(due, job)
            self._held += 1
            return
        names = lane_names(self.queue, job)
        if not self._admit(names, job, key):
            self._entering.append((names, key, job))

    def _blocked(self, names: tuple) -> bool:
        if self._broken_off and not self._broken_off.isdisjoint(names):
            # Those that come later must not overtake the ones not looked at.
            return True
        run = self._open.get(names)
        if run is not None:
            return len(run) >= self.run_length
        return not (self._group_of(names) or self._has_room(names))

    def _has_room(self, names: tuple) -> bool:
        return all(self._room(name) >= 1 for name in names)

    def _group_of(self, names: tuple) -> list | None:
        """The run of groupable jobs of this lane that has room for one more."""
        group = self._groups.get(names)
        return None if group is None or len(group) >= self.group_length else group

    def _room(self, name: str) -> int:
        if name not in self._rooms:
            plain = name.removeprefix(LENT)
            quota = self.queue.quotas.get(plain)
            self._rooms[plain] = _BEHIND_ALL if quota is None else quota.room
            self._rooms[LENT + plain] = (
                _BEHIND_ALL if quota is None else quota.lent_room
            )
        return self._rooms[name]

    def _charge(self, name: str) -> None:
        self._room(name)
        plain = name.removeprefix(LENT)
        self._rooms[plain] -= 1
        self._rooms[LENT + plain] -= 1

    def _admit(self, names: tuple, job, key: int) -> bool:
        if job._status == 3:
            self.finished.append(job)
            return True
        # It is only to be failed, or was withdrawn and has callbacks: neither needs a
        # place, nor an agent of its own.
        ends = job.is_expired(self.now_us) or (
            job._status == 2 and job._active_start is None
        )
        if not ends:
            if self._blocked(names):
                return False
            if not self.accepts(job):
                self._refused += 1
                return False
            group = self._group_of(names) if job._groupable else None
            if names not in self._open and not (group or self._has_room(names)):
                # Groupable ones that come later must not overtake it.
                self._groups.pop(names, None)
                return False
            if job._suspect and not self._take_alone(job):
                return False
        self._taken += 1
        entry = (job, job.attempt, key)
        if ends:
            self._runs.append([entry])
            return True
        self._charged.append(job)
        run = self._open.get(names) or group
        if run:
            # It is run after the others of that run, in the place of the first.
            run.append(entry)
            return True
        run = [entry]
        self._runs.append(run)
        for name in names:
            self._charge(name)
        if self.run_length > 1 and self._is_serial(names):
            self._open[names] = run
        elif job._groupable:
            self._groups[names] = run
        return True

    def _take_alone(self, job) -> bool:
        """Whether this suspect is taken now; in any case nothing behind it is."""
        if self.may_begin is None:
            return True
        taken, self.limit = self._taken, 0
        return not taken and self.may_begin(job)

    def _is_serial(self, names: tuple) -> bool:
        names = without_priority(names)
        if len(names) != 1:
            return False
        quota = self.queue.quotas.get(names[0])
        return quota is not None and quota.size == 1

    def _clear_replaced(self, job) -> None:
        other = unique.clear_replaced(self.queue, job)
        if other is None:
            return
        if other._status == 3:
            self.finished.append(other)
        else:
            # A worker has to run its callbacks.
            enter(self.queue, (), None, other)
            self.more = True

    def _write(self) -> None:
        for lane, key, job in self._leaving:
            if job is None:
                lane.remove(key)
            else:
                leave(self.queue, lane, key, job)
        for names, key, job in self._entering:
            enter(self.queue, names, key, job)
        for job in self._replacing:
            self._clear_replaced(job)
        running: dict[str, list] = {}
        for job in self._charged:
            for name in job.quota_names:
                running.setdefault(name, []).append(job)
        for name, jobs in running.items():
            quota = self.queue.quotas.get(name)
            if quota is not None:
                quota.extend(jobs)
        if self._runs or self._leaving or self._entering:
            self.changed = True
