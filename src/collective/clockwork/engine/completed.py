"""Finished jobs, newest first, for a week.

Jobs are gathered in chunks under the time of their first one, so a sweep
rewrites one small record, and forgetting old jobs drops whole chunks.
Written by the one dispatcher whose agent it belongs to, and at a take-over.
"""

from __future__ import annotations

from . import clock
from .base import Base
from .base import same
from .interfaces import ICompletedCollection
from .retention import Shelved
from .trees import SmallTree
from BTrees.Length import Length
from collections.abc import Iterator
from datetime import datetime
from datetime import timedelta
from persistent import Persistent
from zope.interface import implementer


#: Jobs in a chunk.
CHUNK = 32
#: Chunks that one sweep drops at most, so that it stays short.
DROPPED_AT_ONCE = 8


class Chunk(Persistent):
    """Pairs of key and job, oldest first."""

    #: How many jobs the collection had ever taken in when this was written last;
    #: None in a chunk that is older than this count.
    total: int | None = None

    def __init__(self):
        self.entries: tuple = ()


class Chunks(Base):
    """Finished jobs that are kept for the same time."""

    #: How long a job stays, as microseconds.
    _period = timedelta(days=7) // clock.MICROSECOND
    #: How many jobs have left, a record that never conflicts, because workers drop
    #: old chunks of others too; None before the first in an old collection.
    _left: Length | None = None

    def __init__(self):
        #: First key of a chunk to the chunk.
        self.chunks = SmallTree()
        self._left = Length()

    @property
    def period(self) -> timedelta:
        """How long a job stays here."""
        return timedelta(microseconds=self._period)

    @period.setter
    def period(self, value: timedelta):
        if value <= timedelta():
            raise ValueError(f"period is {value!r}: it must be longer than nothing")
        self._period = value // clock.MICROSECOND

    def add(self, item) -> None:
        """See ICompletedCollection."""
        self.extend([item])

    def extend(self, jobs: list) -> None:
        """Take in finished jobs, in this order."""
        now = clock.now_us()
        chunks = self.chunks
        chunk = chunks[chunks.maxKey()] if chunks else None
        total = self._count_ever(chunk)
        for job in jobs:
            key = self._next_key(chunk, now)
            if chunk is None or self._is_complete(chunk, now):
                chunk = chunks[key] = Chunk()
            chunk.entries = (*chunk.entries, (key, job))
            # In the one record that is written anyway.
            total += 1
            chunk.total = total
        self.forget(now - self._period)

    def _is_complete(self, chunk: Chunk, now: int) -> bool:
        """Whether it is full, or its first job so old that it would stay too long."""
        entries = chunk.entries
        if len(entries) >= CHUNK:
            return True
        return bool(entries) and entries[0][0] + self._period // 8 < now

    def _count_ever(self, newest: Chunk | None) -> int:
        """How many jobs it has taken in, of which some have left."""
        if newest is not None and newest.total is not None:
            return newest.total
        gone = 0 if self._left is None else self._left()
        return gone + sum(len(chunk.entries) for chunk in self.chunks.values())

    def _count_left(self, number: int) -> None:
        if self._left is None:
            self._left = Length()
        self._left.change(number)

    def _next_key(self, chunk, now: int) -> int:
        if chunk is None or not chunk.entries:
            return now
        return max(now, chunk.entries[-1][0] + 1)

    def forget(self, before: int) -> None:
        """Drop some of the chunks whose jobs all ended before (microseconds)."""
        chunks = self.chunks
        keys = list(chunks.keys(None, before))
        for key in keys[:DROPPED_AT_ONCE]:
            if chunks[key].entries[-1][0] < before:
                self._drop(key)

    def _drop(self, first: int) -> None:
        chunk = self.chunks[first]
        self._count_left(len(chunk.entries))
        # Emptied too, so that whoever appends to it at this moment conflicts.
        chunk.entries = ()
        del self.chunks[first]

    def remove(self, job) -> bool:
        """Drop one job; whether it was here."""
        for first, chunk in self.chunks.items():
            left = tuple(entry for entry in chunk.entries if not same(entry[1], job))
            if len(left) == len(chunk.entries):
                continue
            if left:
                self._count_left(1)
                chunk.entries = left
            else:
                self._drop(first)
                if self.chunks and first > self.chunks.maxKey():
                    self.chunks[self.chunks.maxKey()].total = chunk.total
            return True
        return False

    def entries(self, newest: int | None = None) -> Iterator[tuple[int, object]]:
        """Pairs of key and job from ``newest`` (microseconds) back in time."""
        chunks = self.chunks
        high = None if newest is None else newest
        while chunks and (high is None or high >= chunks.minKey()):
            start = chunks.maxKey() if high is None else chunks.maxKey(high)
            for key, job in reversed(chunks[start].entries):
                if newest is None or key <= newest:
                    yield key, job
            high = start - 1

    def iter(
        self, start: datetime | None = None, stop: datetime | None = None
    ) -> Iterator:
        """See ICompletedCollection."""
        oldest = None if stop is None else clock.to_us(stop)
        newest = None if start is None else clock.to_us(start)
        for key, job in self.entries(newest):
            if oldest is not None and key <= oldest:
                return
            yield job

    def __iter__(self) -> Iterator:
        return self.iter()

    def first(self, start: datetime | None = None):
        """See ICompletedCollection; ValueError if there is none."""
        for job in self.iter(start):
            return job
        raise ValueError("no completed job" if start is None else f"none at {start}")

    def last(self, stop: datetime | None = None):
        """See ICompletedCollection; ValueError if there is none."""
        found = None
        for job in self.iter(stop=stop):
            found = job
        if found is None:
            raise ValueError("no completed job" if stop is None else f"none at {stop}")
        return found

    def __len__(self) -> int:
        if not self.chunks:
            return 0
        gone = 0 if self._left is None else self._left()
        return self._count_ever(self.chunks[self.chunks.maxKey()]) - gone

    def __bool__(self) -> bool:
        return bool(self.chunks)

    def clear(self) -> None:
        """Forget all."""
        for first in list(self.chunks):
            self._drop(first)


@implementer(ICompletedCollection)
class Completed(Shelved, Chunks):
    """See ICompletedCollection. Jobs that are kept for another time are on shelves."""
