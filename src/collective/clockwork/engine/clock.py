"""The only reader of the time.

Everything persistent counts time as whole microseconds since 1970, UTC: small
in the database and exact. At every border times are aware datetimes.
``freeze`` stops both clocks for tests.
"""

from __future__ import annotations

from datetime import datetime
from datetime import timedelta
from datetime import timezone
from persistent.timestamp import TimeStamp
from ZODB.utils import p64
from ZODB.utils import u64

import time


EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MICROSECOND = timedelta(microseconds=1)
#: Later times are kept as they are, and ordered as if they were in this year.
LAST_YEAR = 5000

_frozen: datetime | None = None


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return _frozen or datetime.now(timezone.utc)


def monotonic() -> float:
    """Seconds on a clock that is never set back; moves with a frozen ``now``."""
    if _frozen is not None:
        return (_frozen - EPOCH).total_seconds()
    return time.monotonic()


def freeze(moment: datetime | None) -> datetime | None:
    """Stop the clocks at ``moment``, or let them go on when it is None.

    Returns what this was called with before.
    """
    global _frozen
    before, _frozen = _frozen, moment
    return before


def to_us(moment: datetime) -> int:
    """Microseconds since 1970 of an aware datetime.

    Raises ValueError for a naive one, which would mean another moment on
    another machine.
    """
    if moment.tzinfo is None:
        raise ValueError(
            f"{moment!r} has no time zone: use an aware datetime, for instance "
            "datetime.now(timezone.utc)"
        )
    return (moment - EPOCH) // MICROSECOND


def from_us(microseconds: int | None) -> datetime | None:
    """The aware datetime of ``to_us``; None stays None."""
    if microseconds is None:
        return None
    return EPOCH + timedelta(microseconds=microseconds)


def now_us() -> int:
    """The present moment in microseconds since 1970."""
    return time.time_ns() // 1000 if _frozen is None else to_us(_frozen)


def us_of_key(key: int) -> int:
    """Microseconds of the moment that ``order_key`` made this number of."""
    return round(TimeStamp(p64(key)).timeTime() * 1_000_000)


def order_key(microseconds: int) -> int:
    """The moment as a number that compares with transaction ids.

    Transaction ids are times, so jobs that were held until they fell due and
    jobs that are ordered by the commit that queued them share one scale.
    """
    moment = EPOCH + timedelta(microseconds=microseconds)
    if moment.year >= LAST_YEAR:
        # Behind it the numbers begin anew, and "never" would be in the past.
        moment = moment.replace(year=LAST_YEAR, month=1, day=1)
    seconds = moment.second + moment.microsecond / 1e6
    stamp = TimeStamp(
        moment.year, moment.month, moment.day, moment.hour, moment.minute, seconds
    )
    return u64(stamp.raw())
