"""Times, intervals and outcomes of schedules, put into words."""

from __future__ import annotations

from collective.clockwork import _
from datetime import datetime
from datetime import timedelta
from plone.base.i18nl10n import monthname_msgid
from plone.base.i18nl10n import weekdayname_msgid
from plone.base.i18nl10n import weekdayname_msgid_abbr
from typing import Any
from zope.i18n import translate
from zope.i18nmessageid import Message

import re


#: Units in which intervals are entered, the longest last: how long each is.
UNITS = {
    "seconds": timedelta(seconds=1),
    "minutes": timedelta(minutes=1),
    "hours": timedelta(hours=1),
    "days": timedelta(days=1),
}

UNIT_TITLES = {
    "seconds": _("seconds"),
    "minutes": _("minutes"),
    "hours": _("hours"),
    "days": _("days"),
}

#: What becomes of a firing: title and Bootstrap's colour name.
STATUSES = {
    "queued": (_("Queued"), "secondary"),
    "active": (_("Active"), "primary"),
    "completed": (_("Completed"), "success"),
    "failed": (_("Failed"), "danger"),
    "cancelled": (_("Cancelled"), "secondary"),
    "skipped": (_("Skipped"), "warning"),
    "missed": (_("Missed"), "warning"),
    "refused": (_("Refused"), "danger"),
}

#: What a firing does while a job of an earlier one is not finished.
OVERLAPS = {
    "skip": _("Leave this firing out"),
    "queue": _("Wait until that one has ended"),
    "both": _("Run both at the same time"),
}

#: What becomes of firings for which no worker was there in time.
MISSED = {
    "skip": _("Leave them out"),
    "once": _("Run once for all of them"),
    "all": _("Run each of them"),
}

#: So many times of day, or days, are listed at most.
MOST_LISTED = 6

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTHS = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)


def split(interval: timedelta) -> tuple[str, str]:
    """Number and unit of an interval, in the longest unit that needs no fraction."""
    for unit in reversed(UNITS):
        number, rest = divmod(interval, UNITS[unit])
        if number and not rest:
            return str(number), unit
    return f"{interval.total_seconds():.6f}".rstrip("0").rstrip("."), "seconds"


def interval_words(interval: timedelta) -> Message:
    """How often that is, as "Every 5 minutes"."""
    number, unit = split(interval)
    if number == "1":
        return {
            "seconds": _("Every second"),
            "minutes": _("Every minute"),
            "hours": _("Every hour"),
            "days": _("Every 24 hours"),
        }[unit]
    mapping = {"number": number}
    return {
        "seconds": _("Every ${number} seconds", mapping=mapping),
        "minutes": _("Every ${number} minutes", mapping=mapping),
        "hours": _("Every ${number} hours", mapping=mapping),
        "days": _("Every ${number} days", mapping=mapping),
    }[unit]


def length_words(interval: timedelta) -> Message:
    """How long that is, as "5 minutes"."""
    number, unit = split(interval)
    if number == "1":
        return {
            "seconds": _("1 second"),
            "minutes": _("1 minute"),
            "hours": _("1 hour"),
            "days": _("1 day"),
        }[unit]
    mapping = {"number": number}
    return {
        "seconds": _("${number} seconds", mapping=mapping),
        "minutes": _("${number} minutes", mapping=mapping),
        "hours": _("${number} hours", mapping=mapping),
        "days": _("${number} days", mapping=mapping),
    }[unit]


def cron_words(cron: str, request: Any) -> str | None:
    """The usual times of cron, as "Every day at 02:30"; None for all others.

    ``cron`` has been checked: it has five fields that mean something.
    """
    fields = cron.lower().split()
    if len(fields) != 5:
        return None
    minute, hour, day, month, weekday = fields
    if (day, month, weekday) == ("*", "*", "*"):
        words = _within_the_day(minute, hour)
        if words is not None:
            return translate(words, context=request)
    times = _times(minute, hour)
    words = times and _at_times(times, day, month, weekday, request)
    return translate(words, context=request) if words else None


def _within_the_day(minute: str, hour: str) -> Message | None:
    """What happens each day several times, at equal distances."""
    step = _step(minute, 60)
    if step is not None and hour == "*":
        return interval_words(timedelta(minutes=step))
    at = _number(minute)
    step = _step(hour, 24)
    if at is None or step is None:
        return None
    if at == 0:
        return interval_words(timedelta(hours=step))
    mapping = {"number": step, "minute": at}
    if step == 1:
        return _("Every hour, ${minute} minutes past", mapping=mapping)
    return _("Every ${number} hours, ${minute} minutes past", mapping=mapping)


def _step(field: str, whole: int) -> int | None:
    """The step of "*" or "*/n", if it goes evenly into the whole."""
    if field == "*":
        return 1
    step = _number(field[2:]) if field.startswith("*/") else None
    return step if step and step < whole and whole % step == 0 else None


def _number(field: str) -> int | None:
    return int(field) if re.fullmatch(r"[0-9]{1,2}", field) else None


def _numbers(field: str, names: tuple[str, ...] = (), first: int = 0) -> list[int]:
    """The numbers of a field such as "1,3-5"; empty if it is of another kind."""
    found: set[int] = set()
    for part in field.split(","):
        ends = [
            names.index(end) + first if end in names else _number(end)
            for end in part.split("-")
        ]
        if None in ends or len(ends) > 2 or ends[0] > ends[-1]:
            return []
        found.update(range(ends[0], ends[-1] + 1))
    return sorted(found)


def _times(minute: str, hour: str) -> str:
    """Times of day, as "02:30, 14:30"; empty if they are too many to be told."""
    minutes, hours = _numbers(minute), _numbers(hour)
    if len(minutes) * len(hours) > MOST_LISTED:
        return ""
    return ", ".join(f"{h:02}:{m:02}" for h in hours for m in minutes)


def _at_times(
    times: str, day: str, month: str, weekday: str, request: Any
) -> Message | None:
    mapping = {"times": times}
    match (day == "*", month == "*", weekday == "*"):
        case (True, True, True):
            return _("Every day at ${times}", mapping=mapping)
        case (True, True, False):
            return _on_weekdays(weekday, mapping, request)
        case (False, True, True):
            days = _numbers(day)
            if not 0 < len(days) <= MOST_LISTED:
                return None
            mapping["days"] = ", ".join(map(str, days))
            return _("Every month on day ${days} at ${times}", mapping=mapping)
        case (False, False, True):
            days, months = _numbers(day), _numbers(month, MONTHS, 1)
            if (len(days), len(months)) != (1, 1):
                return None
            mapping["day"] = days[0]
            mapping["month"] = _plone(monthname_msgid(months[0]), request)
            return _("Every year on ${month} ${day} at ${times}", mapping=mapping)
    return None


def _on_weekdays(weekday: str, mapping: dict[str, Any], request: Any) -> Message | None:
    days = sorted({number % 7 for number in _numbers(weekday, WEEKDAYS)})
    if not days:
        return None
    if days == [1, 2, 3, 4, 5]:
        mapping["first"] = _plone(weekdayname_msgid(1), request)
        mapping["last"] = _plone(weekdayname_msgid(5), request)
        return _("${first} to ${last} at ${times}", mapping=mapping)
    # A week begins on Monday, and Sunday is the 0 of cron.
    names = [
        _plone(weekdayname_msgid(number), request)
        for number in sorted(days, key=lambda number: number or 7)
    ]
    mapping["days"] = ", ".join(names)
    return _("Every week on ${days} at ${times}", mapping=mapping)


def weekday_words(moment: datetime, request: Any) -> str:
    """The short name of the day of the week."""
    return _plone(weekdayname_msgid_abbr(moment.isoweekday() % 7), request)


def offset_words(moment: datetime) -> str:
    """How far its zone is from UTC at that moment, as "UTC+02:00"."""
    if not moment.utcoffset():
        return "UTC"
    offset = f"{moment:%z}"
    return f"UTC{offset[:3]}:{offset[3:5]}"


def _plone(msgid: str, request: Any) -> str:
    return translate(msgid, domain="plonelocales", context=request)
