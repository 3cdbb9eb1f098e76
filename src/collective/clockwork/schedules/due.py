"""What is to be done with the slots of a schedule that have come: decided here.

Nothing is read or written: from the timing, the moment up to which all is decided, and
the present one, follows which slots fire and which were missed. A worker that is killed
before it has stored that, and one that comes to the same decision at the same time,
leave the decision to the next look.
"""

from __future__ import annotations

from collective.clockwork.schedules.timing import Timing
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice


#: Slots that fire in one transaction at most; the next ones follow in the next.
AT_ONCE = 100

#: How far the missed slots of a cron are counted.
COUNTED = 10_000


@dataclass(frozen=True)
class Missed:
    """Slots in a row that were left out because no worker was there in time."""

    #: How many; at least so many if it is `COUNTED`.
    count: int
    first: int
    last: int


@dataclass(frozen=True)
class Decision:
    """What is to be done at one look; all times are microseconds, UTC."""

    #: What was left out. It comes before all that fires.
    missed: Missed | None
    #: Slots that fire, in order.
    fire: tuple[int, ...]
    #: With this all slots up to here are decided.
    until: int


def decide(
    timing: Timing, *, after: int, now: int, grace: int, missed: str
) -> Decision | None:
    """What to do with the slots behind ``after`` and up to ``now``; None for nothing.

    A slot is late if it was more than ``grace`` microseconds ago. Slots in time fire;
    what becomes of late ones says ``missed``, one of ``info.MISSED``. At most `AT_ONCE`
    fire: those behind ``until`` are decided by the next call.
    """
    if now <= after:
        return None
    if missed == "all":
        return _firing(None, tuple(islice(timing.between(after, now), AT_ONCE)))
    late_until = now - grace - 1
    in_time_after = max(after, late_until)
    in_time = tuple(islice(timing.between(in_time_after, now), AT_ONCE))
    last = None if late_until <= after else timing.latest(after, late_until)
    if last is None:
        return _firing(None, in_time)
    if missed == "once" and not in_time:
        return _firing(_left_out(timing, after, last - 1), (last,))
    left_out = _left_out(timing, after, last)
    return _firing(left_out, in_time) or Decision(left_out, (), last)


def _firing(missed: Missed | None, slots: tuple[int, ...]) -> Decision | None:
    return Decision(missed, slots, slots[-1]) if slots else None


def _left_out(timing: Timing, after: int, until: int) -> Missed | None:
    first = timing.next_after(after)
    if first is None or first > until:
        return None
    count = timing.count(after, until, COUNTED)
    return Missed(count, first, timing.latest(after, until))


def put_off(site_key: str, name: str, slot: int, jitter: int) -> int:
    """By how many microseconds this slot of a schedule is put off: 0 to ``jitter``.

    The same for whoever asks, and spread evenly over schedules and slots.
    """
    digest = sha256(f"{site_key}\0{name}\0{slot}".encode()).digest()
    return int.from_bytes(digest[:8], "big") * jitter >> 64
