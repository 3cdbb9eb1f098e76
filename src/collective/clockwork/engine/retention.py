"""How long a finished job is kept, where that is not as long as others.

A job says so by ``keep_result`` and ``keep_failure``, a queue by the same names for
its jobs that do not; else it is what ``agent.completed.period`` says. Nothing means
that the job is dropped when it is swept.

Jobs that are kept for the same time lie together, in a **shelf** beside the others:
one is a collection of finished jobs with a period of its own, so none is ever searched
for what is old. To keep them few, times are rounded up, by a quarter at most.

The thread that ran a job knows how long to keep it and tells with its report, because
a sweep does not read the jobs that it moves.
"""

from __future__ import annotations

from . import clock
from .failure import isFailure
from .options import check_period
from .trees import SmallTree
from collections.abc import Iterator
from datetime import timedelta

import heapq


#: Least time on a shelf, in microseconds, and what times are multiples of.
UNIT = timedelta(minutes=1) // clock.MICROSECOND

#: What a run reports of a job that is finished; the same as ``attempt.DONE``.
DONE = "done"


class Done(str):
    """The report DONE, of a job that failed or that says how long to keep it."""

    #: Microseconds; None to leave it to the queue.
    keep: int | None
    failed: bool

    def __new__(cls, keep: int | None, failed: bool):
        made = super().__new__(cls, DONE)
        made.keep = keep
        made.failed = failed
        return made


def report(job, outcome: str) -> str:
    """What to report of a job that was run: what became of it, and how to keep it."""
    if outcome != DONE:
        return outcome
    try:
        failed = isFailure(job._result)
    except Exception:
        # The job is settled: a storage that is away at this moment must not look like
        # an error of its run. It is kept as if it had said nothing.
        return outcome
    keep = job._keep_failure if failed else job._keep_result
    return DONE if keep is None and not failed else Done(keep, failed)


def file(queue, agent, finished: list) -> None:
    """Put finished jobs among the agent's completed ones, each for its time.

    ``finished`` has pairs of a job and what ``report`` returned for it; None for one
    that nobody reported, which is read.
    """
    usual: list = []
    shelved: dict[int, list] = {}
    for job, outcome in finished:
        keep = _keep(queue, report(job, DONE) if outcome is None else outcome)
        if keep is None:
            usual.append(job)
        elif keep:
            shelved.setdefault(rounded(keep), []).append(job)
    if usual:
        agent.completed.extend(usual)
    for period, jobs in shelved.items():
        agent.completed.shelf(period).extend(jobs)


def _keep(queue, outcome: str) -> int | None:
    failed = isinstance(outcome, Done) and outcome.failed
    keep = outcome.keep if isinstance(outcome, Done) else None
    if keep is None:
        keep = queue._keep_failure if failed else queue._keep_result
    return keep


def rounded(microseconds: int) -> int:
    """The period of the shelf for jobs that are kept for so long."""
    units = -(-microseconds // UNIT)
    # Three binary digits: at most four shelves each time that the period doubles.
    spare = max(0, units.bit_length() - 3)
    return (-(-units >> spare) << spare) * UNIT


class Keeping:
    """The part of a queue that says how long its finished jobs are kept.

    Both are timedeltas, or None for as long as the agent's ``completed`` says.
    OptionError for anything else. They hold for what ends from then on.
    """

    #: Microseconds; written by hand.
    _keep_result: int | None = None
    _keep_failure: int | None = None

    @property
    def keep_result(self) -> timedelta | None:
        """How long jobs are kept after a success."""
        return _timedelta(self._keep_result)

    @keep_result.setter
    def keep_result(self, value: timedelta | None):
        self._keep_result = check_period("keep_result", value)

    @property
    def keep_failure(self) -> timedelta | None:
        """How long jobs are kept after a failure."""
        return _timedelta(self._keep_failure)

    @keep_failure.setter
    def keep_failure(self, value: timedelta | None):
        self._keep_failure = check_period("keep_failure", value)


def _timedelta(microseconds: int | None) -> timedelta | None:
    return None if microseconds is None else timedelta(microseconds=microseconds)


class Shelved:
    """The part of a collection of finished jobs that knows its shelves.

    They are seen together with its own jobs wherever those are looked at.
    """

    #: Period in microseconds to a collection; made with the first shelf. There are
    #: hardly ever more than a few, so empty ones stay.
    shelves: SmallTree | None = None

    def shelf(self, period: int):
        """The collection for jobs that are kept for this rounded time; made if new."""
        if self.shelves is None:
            self.shelves = SmallTree()
        shelf = self.shelves.get(period)
        if shelf is None:
            shelf = self.shelves[period] = type(self)()
            shelf._period = period
            shelf.parent = self.parent
        return shelf

    def _all_shelves(self) -> list:
        return [] if self.shelves is None else list(self.shelves.values())

    def entries(self, newest: int | None = None) -> Iterator[tuple[int, object]]:
        """Pairs of key and job from ``newest`` (microseconds) back in time."""
        own = super().entries(newest)
        shelves = [shelf.entries(newest) for shelf in self._all_shelves()]
        if not shelves:
            return own
        return heapq.merge(own, *shelves, key=lambda entry: entry[0], reverse=True)

    def forget_old(self, now_us: int) -> None:
        """Drop some of what was kept for its time, here and on the shelves."""
        for part in (self, *self._all_shelves()):
            part.forget(now_us - part._period)

    def remove(self, job) -> bool:
        """Drop one job; whether it was here."""
        return super().remove(job) or any(
            shelf.remove(job) for shelf in self._all_shelves()
        )

    def clear(self) -> None:
        """Forget all."""
        super().clear()
        for shelf in self._all_shelves():
            shelf.clear()

    def __len__(self) -> int:
        return super().__len__() + sum(map(len, self._all_shelves()))

    def __bool__(self) -> bool:
        return super().__bool__() or any(self._all_shelves())
