"""When a job may begin, and when it began and ended.

Stored as whole microseconds, shown as aware datetimes; see ``clock``.
"""

from __future__ import annotations

from . import clock
from . import interfaces
from .interfaces import BadStatusError
from datetime import datetime
from datetime import timedelta


#: How a status is stored; PENDING and ASSIGNED are read off the job's place.
NOT_BEGUN, BEGUN, IN_CALLBACKS, FINISHED = range(4)


class Times:
    """The part of a job that knows about time."""

    #: Microseconds since 1970.
    _queued: int | None = None
    _begin_after: int | None = None
    _active_start: int | None = None
    _active_end: int | None = None
    #: When its callbacks were done, if there were any.
    _callbacks_end: int | None = None
    #: Microseconds, or None for no limit.
    _begin_by: int | None = None
    #: How often it was begun, and asked to be run later; see ``outcomes``.
    _snoozed = 0

    @property
    def queued_at(self) -> datetime | None:
        """When it was queued."""
        return clock.from_us(self._queued)

    @property
    def active_start(self) -> datetime | None:
        """When the attempt that counts began."""
        return clock.from_us(self._active_start)

    @property
    def active_end(self) -> datetime | None:
        """When its result was there."""
        return clock.from_us(self._active_end)

    @property
    def initial_callbacks_end(self) -> datetime | None:
        """When it was completed; None before."""
        if self._status != FINISHED:
            return None
        return clock.from_us(self._callbacks_end or self._active_end)

    @property
    def begin_after(self) -> datetime | None:
        """Not begun before this; the time of queueing if nothing else was asked."""
        later = self._queued if self._begin_after is None else self._begin_after
        return clock.from_us(later)

    @begin_after.setter
    def begin_after(self, value):
        self._require("begin_after", interfaces.NEW)
        self._begin_after = None if value is None else clock.to_us(value)

    @property
    def begin_by(self) -> timedelta | None:
        """Time after begin_after, past which it fails instead of being begun."""
        if self._begin_by is None:
            return None
        return timedelta(microseconds=self._begin_by)

    @begin_by.setter
    def begin_by(self, value):
        self._require("begin_by", interfaces.NEW, interfaces.PENDING)
        if value is not None and value < timedelta():
            raise ValueError(
                f"begin_by is {value!r}: it must be a timedelta that is not negative, "
                "counted from begin_after"
            )
        self._begin_by = None if value is None else value // clock.MICROSECOND
        if interfaces.IQueue.providedBy(self._parent):
            self._parent.note_deadline(self)

    def is_held(self, now_us: int) -> bool:
        """Whether its time has not come at ``now_us``."""
        return self._begin_after is not None and self._begin_after > now_us

    def latest_begin(self) -> int | None:
        """Microseconds of the last moment of ``begin_by``; None if there is none."""
        base = self._begin_after if self._begin_after is not None else self._queued
        if self._begin_by is None or base is None:
            return None
        return base + self._begin_by

    def expiry(self) -> int | None:
        """The same; None for a job that was begun, which does not fail any more."""
        if self._status != NOT_BEGUN or self._tries or self._snoozed:
            return None
        return self.latest_begin()

    def is_expired(self, now_us: int) -> bool:
        """Whether it should have been begun before ``now_us``, and was not."""
        expiry = self.expiry()
        return expiry is not None and expiry < now_us

    def _require(self, attribute: str, *statuses) -> None:
        if self.status not in statuses:
            raise BadStatusError(
                f"{attribute} of a job cannot be set in status {self.status}"
            )
