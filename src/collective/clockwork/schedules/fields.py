"""The fields of a schedule: what each may be, and what holds if it is not given.

Here they are checked one by one, without a look at the site; ``editing`` does the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collective.clockwork.engine.options import hint
from collective.clockwork.options import TITLE_LENGTH
from collective.clockwork.schedules.info import MISSED
from collective.clockwork.schedules.info import OVERLAPS
from datetime import timedelta
from functools import partial
from typing import Any

import json
import keyword


#: Longest name of a schedule, in characters.
NAME_LENGTH = 100

#: Longest of all durations, so that sums with a moment stay moments.
LONGEST = timedelta(days=3650)

#: Longest path of a context, in characters.
CONTEXT_LENGTH = 1000

#: Fewest and most firings that a schedule may remember.
KEEP = (1, 1000)

#: Most characters of the arguments as JSON.
ARGUMENTS_LENGTH = 10_000

#: What holds for a schedule unless it says otherwise. The user is the current one, the
#: time zone that of the site, and the quota that of the function.
DEFAULTS: Mapping[str, Any] = {
    "title": None,
    "cron": None,
    "every": None,
    "timezone": None,
    "user": None,
    "context": "",
    "arguments": {},
    "grace": timedelta(minutes=5),
    "overlap": "skip",
    "missed": "once",
    "jitter": timedelta(),
    "keep": 25,
    "quota": None,
    "active": True,
}

#: Those that are stored as microseconds, besides ``every``.
DURATIONS = ("grace", "jitter")

#: Those that say when it fires; they are changed together.
TIMES = ("cron", "every", "timezone")


def check_name(name: Any) -> str:
    """Raise ValueError (TypeError) if a schedule cannot be called so."""
    if not isinstance(name, str):
        raise TypeError(f"name is {name!r}: it must be a text")
    if not 0 < len(name) <= NAME_LENGTH or not name.isprintable():
        raise ValueError(
            f"name is {name!r}: it must have 1 to {NAME_LENGTH} printable characters"
        )
    if name != name.strip():
        raise ValueError(f"name is {name!r}: it must not begin or end with a blank")
    return name


def check(given: Mapping[str, Any]) -> dict[str, Any]:
    """The same fields, each of them checked; ``function`` may be among them.

    Raises TypeError for a field that is unknown or of another type, ValueError for a
    value that makes no sense.
    """
    known = ("function", *DEFAULTS)
    for name in given:
        if name not in known:
            raise TypeError(f"{name} is no field of a schedule; {hint(name, known)}")
    return {
        name: _CHECKS[name](name, value) if name in _CHECKS else value
        for name, value in given.items()
    }


def _text(name: str, value: Any, *, length: int) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}: it must be a text")
    if len(value) > length or not value.isprintable():
        raise ValueError(
            f"{name} is {value!r}: it must have at most {length} printable characters"
        )
    return value or None


def _context(name: str, value: Any) -> Any:
    """A path; of an object it is looked up in the site whether it can be one."""
    if not isinstance(value, str):
        return value
    return _text(name, value, length=CONTEXT_LENGTH) or ""


def _duration(name: str, value: Any) -> timedelta:
    if not isinstance(value, timedelta):
        raise TypeError(f"{name} is {value!r}: it must be a timedelta")
    if not timedelta() <= value <= LONGEST:
        raise ValueError(
            f"{name} is {value!r}: it must be from 0 to {LONGEST.days} days"
        )
    return value


def _one_of(name: str, value: Any, *, words: tuple[str, ...]) -> str:
    if value not in words:
        shown = ", ".join(map(repr, words))
        raise ValueError(f"{name} is {value!r}: it must be one of {shown}")
    return value


def _keep(name: str, value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{name} is {value!r}: it must be a whole number")
    fewest, most = KEEP
    if not fewest <= value <= most:
        raise ValueError(f"{name} is {value!r}: it must be from {fewest} to {most}")
    return value


def _active(name: str, value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError(f"{name} is {value!r}: it must be True or False")
    return value


def _arguments(name: str, value: Any) -> dict[str, Any]:
    """A copy that is equal to what JSON makes of it."""
    if not isinstance(value, Mapping):
        raise TypeError(
            f"{name} is {value!r}: it must map names of the function's parameters to "
            "values"
        )
    for parameter in value:
        if not isinstance(parameter, str):
            raise TypeError(f"{name} has the key {parameter!r}: keys must be texts")
        if not parameter.isidentifier() or keyword.iskeyword(parameter):
            raise ValueError(
                f"{name} has the key {parameter!r}, which cannot be a parameter's name"
            )
    try:
        text = json.dumps(dict(value), allow_nan=False)
        copy = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{name} is {value!r}: it may hold texts, numbers, True, False, None, and "
            f"lists and mappings of these: {error}"
        ) from error
    if copy != value:
        raise ValueError(
            f"{name} is {value!r}, which JSON would give back as {copy!r}: use lists "
            "in place of tuples, and texts as keys"
        )
    if len(text) > ARGUMENTS_LENGTH:
        raise ValueError(
            f"{name} have {len(text)} characters as JSON, and may have "
            f"{ARGUMENTS_LENGTH}: pass a path or an id, and look up the rest inside "
            "the function"
        )
    return copy


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "title": partial(_text, length=TITLE_LENGTH),
    "user": partial(_text, length=200),
    "timezone": partial(_text, length=100),
    "context": _context,
    "arguments": _arguments,
    "grace": _duration,
    "overlap": partial(_one_of, words=OVERLAPS),
    "missed": partial(_one_of, words=MISSED),
    "jitter": _duration,
    "keep": _keep,
    "quota": partial(_text, length=NAME_LENGTH),
    "active": _active,
}
