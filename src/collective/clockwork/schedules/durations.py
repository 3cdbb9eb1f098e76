"""Durations as ZCML and set-up files write them: ``90s``, ``15m``, ``2h``, ``1d``."""

from __future__ import annotations

from datetime import timedelta

import re


#: Letters that may follow the number, the longest first; seconds need none.
UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
}

_DURATION = re.compile(r"([0-9]{1,8}(?:\.[0-9]{1,6})?) ?([smhd]?)")


def parse(text: str) -> timedelta:
    """The duration that is written as a number with a unit, or as seconds.

    ValueError, without a name of what it is for, if it is written otherwise.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f"{text!r} is no duration: write a number and s, m, h or d, such as 90s, "
            "15m, 2h or 1d; a number alone counts seconds"
        )
    return float(match[1]) * UNITS[match[2] or "s"]


def show(duration: timedelta) -> str:
    """The shortest text that ``parse`` reads as this duration."""
    for letter, unit in UNITS.items():
        if duration and not duration % unit:
            return f"{duration // unit}{letter}"
    return f"{duration.total_seconds():f}".rstrip("0").rstrip(".") + "s"
