"""A retry policy for work that fails for a while: waits that grow, and differ.

Errors are tried again after waits that grow by a factor; a random part of each keeps
jobs that failed together from coming back together. Conflicts and a storage that is
away are no errors of the job: they are handled as in RetryCommonFourTimes, and take
nothing from its tries.
"""

from __future__ import annotations

from .commit import tracelog
from .errors import OptionError
from .failure import dotted_type
from .failure import Failure
from .options import LONGEST
from .retry import RetryCommonFourTimes
from collections.abc import Iterable
from dataclasses import astuple
from dataclasses import dataclass
from datetime import timedelta

import math
import random


@dataclass(frozen=True)
class Backoff:
    """A ``retry_policy_factory`` for jobs whose errors pass.

    ``tries`` is how often the job is begun at most, None for no limit; ``first`` is the
    wait after the first error, ``factor`` how much longer each next one is, up to
    ``longest``; ``jitter`` is how much of a wait is random, from 0 to 1, in both
    directions. Errors of ``give_up_on``, classes or dotted names, are not tried again.
    OptionError if one of these makes no sense.
    """

    tries: int | None = 10
    first: timedelta = timedelta(seconds=10)
    factor: float = 2.0
    longest: timedelta = timedelta(hours=1)
    jitter: float = 0.25
    give_up_on: tuple = ()

    def __post_init__(self):
        if self.tries is not None:
            _require(
                type(self.tries) is int and self.tries >= 1,
                f"tries is {self.tries!r}: it must be a whole number above 0, or None",
            )
        for name in ("first", "longest"):
            value = getattr(self, name)
            _require(
                isinstance(value, timedelta) and timedelta() < value <= LONGEST,
                f"{name} is {value!r}: it must be a timedelta that is longer than "
                f"nothing, and at most {LONGEST.days:,} days",
            )
        _require(
            self.first <= self.longest,
            f"first is {self.first!r}: it must not be longer than the longest wait, "
            f"{self.longest!r}",
        )
        _require(
            _is_number(self.factor) and self.factor >= 1,
            f"factor is {self.factor!r}: it must be a number from 1 on",
        )
        _require(
            _is_number(self.jitter) and 0 <= self.jitter <= 1,
            f"jitter is {self.jitter!r}: it must be a number from 0 to 1",
        )
        object.__setattr__(self, "give_up_on", _names(self.give_up_on))

    def __reduce__(self):
        # It is stored in each job that has it.
        values, default = list(astuple(self)), astuple(_DEFAULT)
        while values and values[-1] == default[len(values) - 1]:
            values.pop()
        return type(self), tuple(values)

    def __call__(self, job) -> BackoffPolicy:
        """The policy of one job."""
        return BackoffPolicy(self)

    def wait(self, errors: int) -> timedelta:
        """How long to wait after so many errors, a different time at each call."""
        # The longest wait has its random part too, and is not exceeded by it.
        ceiling = self.longest.total_seconds() / (1 + self.jitter)
        first = self.first.total_seconds()
        growth = (errors - 1) * math.log(self.factor)
        wait = ceiling
        if growth < math.log(ceiling / first):
            wait = first * math.exp(growth)
        wait *= random.uniform(1 - self.jitter, 1 + self.jitter)
        return min(timedelta(seconds=wait), self.longest)


class BackoffPolicy(RetryCommonFourTimes):
    """What a Backoff makes for one job."""

    def __init__(self, backoff: Backoff):
        super().__init__()
        #: Written when the policy is made.
        self.backoff = backoff

    def jobError(self, failure, data_cache):
        """See IRetryPolicy."""
        if _is_in(self.internal_exceptions, failure):
            return super().jobError(failure, data_cache)
        return self._after_error(failure, data_cache)

    def commitError(self, failure, data_cache):
        """See IRetryPolicy."""
        if _is_in(self.transaction_exceptions, failure):
            return super().commitError(failure, data_cache)
        return self._after_error(failure, data_cache)

    def retryAfter(self, delay, data_cache):
        """Whether a job that asks to be tried again is; see ``outcomes``."""
        return False if self._is_last(data_cache) else delay

    def _after_error(self, failure: Failure, data_cache: dict):
        data_cache["last_error"] = failure.message
        if self.backoff.give_up_on and failure.check(*self.backoff.give_up_on):
            tracelog.warning("giving up at once after %s", failure.typeName)
            return False
        if self._is_last(data_cache):
            tracelog.warning("giving up after %d errors", data_cache["errors"])
            return False
        wait = self.backoff.wait(data_cache["errors"])
        tracelog.warning("trying again in %s: error %d", wait, data_cache["errors"])
        return wait

    def _is_last(self, data_cache: dict) -> bool:
        """Count an error; whether it was the last that is allowed."""
        # Those of earlier runs are in ``data``, those of this run in the cache.
        count = data_cache.get("errors", self.data.get("errors", 0)) + 1
        data_cache["errors"] = count
        return self.backoff.tries is not None and count >= self.backoff.tries


def _is_in(rows: tuple, failure: Failure) -> bool:
    return any(failure.check(*row[0]) is not None for row in rows)


def _is_number(value) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise OptionError(message)


def _names(kinds) -> tuple[str, ...]:
    """Dotted names of exceptions; by name they need no import to be read back."""
    if isinstance(kinds, str | type) or not isinstance(kinds, Iterable):
        kinds = (kinds,)
    names = []
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseException):
            kind = dotted_type(kind)
        _require(
            isinstance(kind, str) and bool(kind),
            f"give_up_on has {kind!r}: it must have classes of exceptions or their "
            "dotted names",
        )
        names.append(str(kind))
    return tuple(names)


_DEFAULT = Backoff()
