"""How monitor commands read their arguments and write what they found.

A command has tools: ``async status``, ``asyncdb count pending callable:send*``.
Positional arguments come first, then ``name:value``. Answers are JSON with
sorted keys, or plain text.
"""

from __future__ import annotations

from . import clock
from .base import database_name
from .interfaces import IJob
from .run import brief
from collections.abc import Callable
from collections.abc import Iterable
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from uuid import UUID
from ZODB.utils import u64

import inspect
import json
import re


_INTERVAL = re.compile(
    r"(?:(?P<days>\d+)D)?(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?"
    r"(?:(?P<seconds>\d+(?:\.\d+)?)S)?",
    re.IGNORECASE,
)


def parse_interval(text: str) -> timedelta:
    """The timedelta of ``[nD][nH][nM][nS]``; ValueError if it is none.

    Seconds may have a fraction, which zc.async refused.
    """
    match = _INTERVAL.fullmatch(text)
    given = {} if match is None else match.groupdict()
    parts = {name: float(value) for name, value in given.items() if value}
    if not parts:
        raise ValueError(
            f"{text!r} is no interval: use [nD][nH][nM][nS], as in 1H30M or 2.5S"
        )
    return timedelta(**parts)


def parse_moment(text: str | int | datetime | None) -> int | datetime | None:
    """A poll's key, or the moment that is an interval ago."""
    if text is None or isinstance(text, int | datetime):
        return text
    if text.isdigit():
        return int(text)
    return clock.now() - parse_interval(text)


def parse_number(what: str, text: str | int | None) -> int | None:
    """A whole number, 0 or more; ValueError if it is none. None stays None."""
    if text is None or isinstance(text, int):
        return text
    if not text.isdigit():
        raise ValueError(f"{what} is {text!r}: it must be a whole number")
    return int(text)


def split_arguments(raw: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Positional and named arguments; ValueError for a positional behind a named."""
    positional: list[str] = []
    named: dict[str, str] = {}
    for argument in raw:
        name, colon, value = argument.partition(":")
        if colon:
            if name in named:
                raise ValueError(f"{name} is given twice")
            named[name] = value
        elif named:
            raise ValueError(
                f"{argument!r} follows a name:value argument: put it before those"
            )
        else:
            positional.append(argument)
    return positional, named


def call_tool(tools: dict[str, Callable], tool: str, raw: Iterable[str], *first) -> str:
    """What this tool answers, as text; ``first`` are arguments in front of all.

    Raises ValueError for arguments that it does not take.
    """
    function = tools.get(tool)
    if function is None:
        return f"[Unknown tool {tool!r}: known are {', '.join(tools)}]\n"
    positional, named = split_arguments(raw)
    signature = inspect.signature(function)
    try:
        signature.bind(*first, *positional, **named)
    except TypeError as error:
        raise ValueError(f"{tool}: {error}; help {tool} tells what it takes") from error
    return to_text(function(*first, *positional, **named))


def tell_help(command: str, tools: dict[str, Callable], tool: str | None) -> str:
    """What the tools of a command do, or one of them in full."""
    if tool is None:
        lines = [f"{name}: {_first_line(tools[name])}" for name in tools]
        return (
            f"Usage: {command} <tool> [<argument>...] [<name>:<value>...]\n"
            f"{command} help <tool> tells more.\n\n" + "\n".join(lines) + "\n"
        )
    if tool not in tools:
        return f"[Unknown tool {tool!r}: known are {', '.join(tools)}]\n"
    return f"{tool}: {inspect.getdoc(tools[tool])}\n"


def _first_line(function: Callable) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]


def to_text(value) -> str:
    """Plain text for a str, else JSON; ends with a line break."""
    if type(value) is not str:
        value = json.dumps(value, indent=4, sort_keys=True, default=encode)
    return value if value.endswith("\n") else f"{value}\n"


def encode(value):
    """What JSON shows of a value that it does not know."""
    if isinstance(value, timedelta):
        return encode_duration(value)
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            value = value.astimezone(timezone.utc).replace(tzinfo=None)
        return f"{value.isoformat()}Z"
    if isinstance(value, UUID):
        return str(value)
    if IJob.providedBy(value):
        oid = value._p_oid
        return [None if oid is None else u64(oid), database_name(value)]
    if hasattr(type(value), "_p_oid"):
        return brief(value)
    if inspect.isroutine(value) or isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return list(value)
    return repr(value)


def encode_duration(duration: timedelta) -> dict:
    """Days, hours, minutes, seconds without those that are zero.

    zc.async lost the fractions of seconds.
    """
    seconds = duration / timedelta(seconds=1)
    sign = -1 if seconds < 0 else 1
    rest, parts = abs(seconds), {}
    for name, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        count, rest = divmod(rest, length)
        if count:
            parts[name] = sign * int(count)
    rest = round(rest, 6)
    if rest or not parts:
        parts["seconds"] = sign * rest
    return parts
