"""What can be asked of a job beyond what it calls: the options of ``queue.put``.

Each is an attribute of the job that may be set until the job is queued. What is
not asked for takes no byte in the job's record. Values are checked when they are
set, and how they go together when the job is queued, so a wrong one is refused
before anything is stored.
"""

from __future__ import annotations

from . import clock
from . import interfaces
from .errors import OptionError
from datetime import timedelta

import difflib
import reprlib


#: Bounds of ``priority``.
LOWEST, HIGHEST = -100, 100
#: What may happen to a second job with a ``unique`` key.
ON_DUPLICATE = ("refuse", "drop", "replace")
#: Longest ``unique`` key, in characters.
KEY_LENGTH = 500
#: Longest duration: sums with the present moment stay within what a datetime holds.
LONGEST = timedelta(days=36_500)

#: What ``queue.put`` takes besides, for the nearest name to a wrong one.
OLD_NAMES = ("begin_after", "begin_by", "failure_log_level", "retry_policy_factory")

_shortened = reprlib.Repr()
_shortened.maxstring = _shortened.maxother = 100


def _show(value) -> str:
    """A short repr, whatever the value is."""
    return _shortened.repr(value)


def _check_priority(name: str, value) -> int:
    if type(value) is not int or not LOWEST <= value <= HIGHEST:
        raise OptionError(
            f"{name} is {_show(value)}: it must be a whole number from {LOWEST} to "
            f"{HIGHEST}; jobs with a higher one go first, 0 is the default"
        )
    return value


def _check_flag(name: str, value) -> bool:
    if type(value) is not bool:
        raise OptionError(f"{name} is {_show(value)}: it must be True or False")
    return value


def _check_unique(name: str, value) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= KEY_LENGTH:
        raise OptionError(
            f"{name} is {_show(value)}: it must be a text of 1 to {KEY_LENGTH} "
            "characters that tells this work from other work"
        )
    # Of a subclass, a message of a translation for instance, the class would be
    # stored with it.
    return str(value)


def _check_on_duplicate(name: str, value) -> str:
    if not isinstance(value, str) or value not in ON_DUPLICATE:
        known = ", ".join(map(repr, ON_DUPLICATE))
        raise OptionError(f"{name} is {_show(value)}: it must be one of {known}")
    return str(value)


def _check_duration(name: str, value) -> int | None:
    """Microseconds of a timedelta that is longer than nothing."""
    microseconds = check_period(name, value)
    if microseconds == 0:
        raise OptionError(f"{name} is {value!r}: it must be longer than nothing")
    return microseconds


def check_period(name: str, value) -> int | None:
    """Microseconds of a timedelta, or None; OptionError if it is negative or absurd."""
    if value is None:
        return None
    if not isinstance(value, timedelta):
        raise OptionError(
            f"{name} is {_show(value)}: it must be a timedelta, for instance "
            "timedelta(minutes=5), or None"
        )
    if not timedelta() <= value <= LONGEST:
        raise OptionError(
            f"{name} is {value!r}: it must not be negative, nor longer than "
            f"{LONGEST.days:,} days"
        )
    return value // clock.MICROSECOND


_CHECKS = {
    "priority": _check_priority,
    "timeout": _check_duration,
    "groupable": _check_flag,
    "unique": _check_unique,
    "on_duplicate": _check_on_duplicate,
    "debounce": _check_duration,
    "keep_result": check_period,
    "keep_failure": check_period,
}
#: The names that ``queue.put`` takes.
NAMES = tuple(_CHECKS)


def _option(name: str, doc: str) -> property:
    def get(self):
        return getattr(self, f"_{name}")

    def set(self, value):
        apply(self, {name: value})

    return property(get, set, doc=doc)


def _duration_option(name: str, doc: str) -> property:
    def get(self):
        microseconds = getattr(self, f"_{name}")
        return None if microseconds is None else timedelta(microseconds=microseconds)

    def set(self, value):
        apply(self, {name: value})

    return property(get, set, doc=doc)


class Options:
    """The part of a job that holds its options."""

    _priority = 0
    #: The durations in microseconds.
    _timeout: int | None = None
    _groupable = False
    _unique: str | None = None
    _on_duplicate = "refuse"
    _debounce: int | None = None
    _keep_result: int | None = None
    _keep_failure: int | None = None
    #: The job that was withdrawn for this one; see ``unique``.
    _replaces: bytes | None = None

    priority = _option(
        "priority", "Jobs with a higher one go before others; -100 to 100."
    )
    timeout = _duration_option("timeout", "Longest that one attempt may take, or None.")
    groupable = _option("groupable", "Whether it may share a transaction with others.")
    unique = _option("unique", "Key that only one unfinished job of the queue has.")
    on_duplicate = _option("on_duplicate", "What happens to a second job of that key.")
    debounce = _duration_option(
        "debounce", "A waiting job of its key is replaced, and time begins anew."
    )
    keep_result = _duration_option(
        "keep_result", "How long it is kept after a success; None: the queue's."
    )
    keep_failure = _duration_option(
        "keep_failure", "How long it is kept after a failure; None: the queue's."
    )


def apply(job, options: dict) -> None:
    """Set these options on a job.

    Raises OptionError for an unknown one or a wrong value, and BadStatusError for a
    job that was queued already; then none of them is set.
    """
    checked = {}
    for name, value in options.items():
        if name not in _CHECKS:
            nearest = hint(name, (*NAMES, *OLD_NAMES))
            raise OptionError(f"{name!r} is no option of a job; {nearest}")
        checked[f"_{name}"] = _CHECKS[name](name, value)
    for name in options:
        job._require(name, interfaces.NEW)
    for stored, value in checked.items():
        # A record does not grow by what was set to its default.
        if value != getattr(job, stored):
            setattr(job, stored, value)


def hint(name: str, known: tuple) -> str:
    """What to say of an unknown name: the nearest of the known ones, or all."""
    nearest = difflib.get_close_matches(name, known, 1, 0.5)
    if nearest:
        return f"did you mean {nearest[0]!r}?"
    return f"known are: {', '.join(sorted(known))}"


def check_together(job) -> None:
    """Raise OptionError if the job's options contradict each other."""
    if job._unique is None:
        if job._debounce is not None:
            raise OptionError(
                "debounce needs unique: the key that says which jobs are the same work"
            )
        if job._on_duplicate != "refuse":
            raise OptionError(
                f"on_duplicate={job._on_duplicate!r} needs unique: the key that says "
                "which jobs are the same work"
            )
    if job._debounce is not None and job._begin_after not in (None, _debounced(job)):
        raise OptionError(
            "debounce and begin_after contradict each other: a debounced job begins "
            "that long after it was last queued"
        )
    if job._debounce is not None and job._on_duplicate == "drop":
        raise OptionError(
            "debounce and on_duplicate='drop' contradict each other: debounce "
            "replaces the waiting job"
        )
    if job._groupable and job._timeout is not None:
        raise OptionError(
            "groupable and timeout contradict each other: grouped jobs are short, and "
            "share one transaction"
        )


def _debounced(job) -> int | None:
    """What queueing it set ``_begin_after`` to; it may have been taken out since."""
    return None if job._queued is None else job._queued + job._debounce
