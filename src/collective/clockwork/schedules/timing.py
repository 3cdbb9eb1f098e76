"""When a schedule is due: its moments, by cron or by a fixed interval.

The moments of a schedule are called its slots. What they are depends on the timing
alone, never on who asks or when, so that all workers find the same ones. Like all
times in the database they are whole microseconds since 1970, UTC.

Cron is read by ``cronsim``, which does as Debian's cron does:

- ``30 2 * * *`` comes once on each day. Where 02:30 does not exist, because the clocks
  are put forward, it comes at the first moment after the gap, 03:00; where there are
  two of them it comes at the first.
- When the minute or the hour begins with ``*``, the clock on the wall is followed as it
  goes: ``30 * * * *`` comes each hour, also in the one that the clocks show twice, and
  ``*/15 2 * * *`` comes not at all on the day that has no such hour.
- A day of the month and a day of the week must both fit if one of them begins with
  ``*``; else one is enough.
- ``L`` is the last day of the month, ``LW`` its last working day, ``5L`` its last
  Friday and ``MON#1`` its first Monday.

cronsim also takes a field of seconds in front of the five. It is refused here, because
the rule of the first point does not hold with it. An interval serves instead.

An interval counts real seconds from the timing's start, whatever the clocks show.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from collective.clockwork.engine import clock
from cronsim import CronSim
from cronsim import CronSimError
from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta
from itertools import islice
from zoneinfo import ZoneInfo
from zoneinfo import ZoneInfoNotFoundError


#: Longest text that is read as cron.
CRON_LENGTH = 200

SHORTEST = timedelta(seconds=1)
LONGEST = timedelta(days=3660)

#: Microseconds; how far back the last slot of a cron is looked for at first.
FIRST_LOOK_BACK = 3_600_000_000


@dataclass(frozen=True)
class Timing:
    """When a schedule is due; made by `make`, which checks it.

    Its methods raise ValueError if the zone is not known (any more), or the cron
    cannot be read.
    """

    #: Five fields with one space between them; None if there is an interval.
    cron: str | None = None
    #: The interval in microseconds; None if there is a cron.
    every: int | None = None
    #: Name of the zone in which the cron is meant, and moments are shown.
    timezone: str = "UTC"
    #: From where an interval is counted, in microseconds.
    start: int = 0

    def next_after(self, moment: int) -> int | None:
        """The first slot behind this moment; None if there is none in 50 years."""
        return next(self._following(moment), None)

    def between(self, after: int, until: int) -> Iterator[int]:
        """The slots behind ``after`` and up to ``until``, in order."""
        for slot in self._following(after):
            if slot > until:
                return
            yield slot

    def upcoming(self, after: int, count: int) -> list[int]:
        """The next ``count`` slots behind a moment; fewer if there are no more."""
        return list(islice(self._following(after), count))

    def latest(self, after: int, until: int) -> int | None:
        """The last slot behind ``after`` and up to ``until``; None if there is none."""
        if self.every is not None:
            slot = until - (until - self.start) % self.every
            return slot if slot > after else None
        distance = FIRST_LOOK_BACK
        while True:
            begin = max(after, until - distance)
            slots = deque(self.between(begin, until), maxlen=1)
            if slots or begin == after:
                return slots[0] if slots else None
            distance *= 2

    def count(self, after: int, until: int, limit: int) -> int:
        """How many slots are behind ``after`` and up to ``until``; ``limit`` at most.

        That of an interval is exact.
        """
        if self.every is not None:
            first, last = after - self.start, until - self.start
            return max(0, last // self.every - first // self.every)
        return sum(1 for _slot in islice(self.between(after, until), limit))

    def in_zone(self, moment: int) -> datetime:
        """The moment as a datetime in the timing's zone."""
        return clock.from_us(moment).astimezone(zone(self.timezone))

    def _following(self, after: int) -> Iterator[int]:
        if self.every is not None:
            slot = after + self.every - (after - self.start) % self.every
            while True:
                yield slot
                slot += self.every
        for found in reader(self.cron, self.in_zone(after)):
            slot = clock.to_us(found)
            # In the hour that the clocks show twice, cronsim begins at the first one;
            # and what is left out may come to the same moment as what follows it.
            if slot > after:
                yield slot
                after = slot


def make(
    *,
    cron: str | None = None,
    every: timedelta | None = None,
    timezone: str | None = None,
    start: datetime | None = None,
) -> Timing:
    """A checked timing, with ``cron`` or ``every``; the zone is UTC by default.

    ``start`` is where an interval is counted from, an aware datetime; by default the
    present second. TypeError or ValueError for what makes no sense, or never comes.
    """
    if (cron is None) == (every is None):
        given = "neither" if cron is None else "both"
        raise ValueError(f"Pass cron or every, one of them: {given} was given")
    if start is None:
        start = clock.now().replace(microsecond=0)
    if not isinstance(start, datetime):
        raise TypeError(f"start is {start!r}: pass an aware datetime, or None for now")
    name = check_zone("UTC" if timezone is None else timezone)
    made = Timing(
        None if cron is None else check_cron(cron),
        None if every is None else check_every(every),
        name,
        clock.to_us(start),
    )
    if made.next_after(made.start) is None:
        raise ValueError(
            f"cron is {cron!r}, which never comes: no such day exists in 50 years"
        )
    return made


def check_cron(cron: str) -> str:
    """The cron with one space between its fields; TypeError or ValueError if bad."""
    if not isinstance(cron, str):
        raise TypeError(f"cron is {cron!r}: pass a text of five fields, '30 2 * * *'")
    if len(cron) > CRON_LENGTH:
        raise ValueError(
            f"cron has {len(cron)} characters: at most {CRON_LENGTH} are read"
        )
    fields = cron.split()
    if len(fields) != 5:
        raise ValueError(
            f"cron is {cron!r}, which has {len(fields)} fields: pass five, minute, "
            "hour, day of the month, month and day of the week, as in '30 2 * * *'. "
            "For less than a minute, pass every"
        )
    cron = " ".join(fields)
    reader(cron, clock.EPOCH)
    return cron


def check_every(every: timedelta) -> int:
    """The interval in microseconds; TypeError or ValueError if it cannot be one."""
    if not isinstance(every, timedelta):
        raise TypeError(f"every is {every!r}: pass a timedelta, timedelta(hours=1)")
    if not SHORTEST <= every <= LONGEST:
        raise ValueError(
            f"every is {every}: it must be {SHORTEST.seconds} second or more, and "
            f"{LONGEST.days} days or less"
        )
    return every // clock.MICROSECOND


def check_zone(name: str) -> str:
    """The name of a time zone; TypeError or ValueError if there is none of it."""
    if not isinstance(name, str):
        raise TypeError(f"timezone is {name!r}: pass a name, 'Europe/Berlin'")
    zone(name)
    return name


def zone(name: str) -> ZoneInfo:
    """The time zone of this name; ValueError if this machine does not know it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        # A part of a name, "Europe", is a folder.
        raise ValueError(
            f"timezone is {name!r}, and no time zone of that name is known here: pass "
            "one such as 'Europe/Berlin' or 'UTC'"
        ) from error


def reader(cron: str, after: datetime) -> CronSim:
    """What gives the moments of a cron behind an aware one; ValueError if bad."""
    try:
        return CronSim(cron, after)
    except CronSimError as error:
        raise ValueError(
            f"cron is {cron!r}: {error}. The fields are minute, hour, day of the "
            "month, month and day of the week, as in '30 2 * * *'"
        ) from error
