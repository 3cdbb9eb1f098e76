"""Deaths of worker processes, and which of their jobs is to blame.

A process may be gone because one of its jobs brought it down, and then all that it
had claimed comes back. Innocent jobs must not pay for the guilty one, so a death counts
against a job only if it was the only one that the process had. To get there:

* What a dead process had claimed is under **suspicion**. That its runs begin is on
  record from then on.
* A suspect is begun beside no younger job, and for a while nothing is begun beside
  it: some seconds at first, eight times as long after each death that still did not
  tell who it was. From the second one on it is begun in an empty process.

So a job that kills at once is alone at its second or third death, one that takes an
hour to kill at its fourth or fifth, and each death from then on counts. A death that
another job may have caused counts for nothing; only after ``UNEXPLAINED`` of them a
job is blamed all the same, which happens where a chooser or a filter of the
application keeps it from ever being alone.

This module writes the job, in the transaction of who takes it back.
"""

from __future__ import annotations

from . import clock
from . import givingup
from .base import same
from .retry import ask
from .run import decide_interrupt
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import replace
from datetime import datetime
from persistent import Persistent
from transaction.interfaces import TransactionError


#: Seconds for which nothing is begun beside a suspect, and how much longer after each
#: further death that did not tell who it was.
ALONE_FIRST = 10.0
ALONE_GROWTH = 8
#: So many deaths that may have been another's fault are too many.
UNEXPLAINED = 6
#: Deaths whose evidence is kept with one job: the newest.
KEPT = 10


@dataclass(frozen=True)
class Death:
    """What is known of the end of one process; stored with the jobs that it ran.

    What only a parent process can see is known where ``supervisor`` ran it.
    """

    #: When it was found dead, or ended if a supervisor saw that: microseconds.
    at_us: int
    #: UUID of the worker, as text.
    worker: str
    #: Name of its machine, and process id there.
    host: str | None = None
    pid: int | None = None
    #: Name of the thread that ran the job.
    thread: str | None = None
    #: One of the two, if a supervisor saw it: "SIGKILL" for instance.
    exit_code: int | None = None
    signal: str | None = None
    #: Most memory that it had in use at once, in bytes.
    peak_rss: int | None = None
    #: Last lines of its log.
    lines: tuple[str, ...] = ()
    #: Whether the job was the only one that it had; then it counts.
    alone: bool = False

    @property
    def when(self) -> datetime:
        """When it was found dead, or ended if a supervisor saw that."""
        return clock.from_us(self.at_us)

    @property
    def cause(self) -> str | None:
        """Signal or exit code in words; None if nobody saw it."""
        if self.signal is not None:
            return self.signal
        return None if self.exit_code is None else f"exit code {self.exit_code}"


class Evidence(Persistent):
    """The deaths under one job: a record of its own, so that the job stays small.

    Written by who takes the job back, together with the job, and at its release.
    """

    #: Oldest first.
    deaths: tuple[Death, ...] = ()
    #: Those that counted since the job was queued, or released.
    count = 0

    def add(self, death: Death) -> None:
        """Keep this death, and forget those that are too many."""
        self.deaths = (*self.deaths, death)[-KEPT:]


class Mortal:
    """The part of a job that remembers deaths; nothing of it is stored without one."""

    #: How many deaths may have been its fault, or another's; see above. True in
    #: records from before there was a quarantine.
    _suspect = 0
    #: Attempt that a suspect was begun with, and in which thread.
    _begun_attempt: int | None = None
    _begun_thread: str | None = None
    #: See Evidence; made at the first death.
    _deaths: Evidence | None = None

    @property
    def deaths(self) -> tuple[Death, ...]:
        """The newest deaths of processes that had begun it, oldest first."""
        return () if self._deaths is None else self._deaths.deaths


# At a take-over


def unfinished(agents) -> int:
    """How many jobs the process of these agents had, as far as it could tell."""
    return sum(
        _had_it(job, attempt)
        for agent in agents.values()
        for job, attempt, _key in agent.claims.entries
    )


def _had_it(job, attempt: int) -> bool:
    try:
        return job._status != 3 and job.attempt == attempt and not job.is_waiting
    except TransactionError:
        raise
    except Exception:
        # It cannot be read here, but perhaps it could there.
        return True


def left_by(agents) -> int:
    """The same for all queues that the process worked for.

    Queues are taken care of one after the other, so each ``agents`` keeps in ``left``
    what it had: a pair of boot and number.
    """
    queues = agents.parent.parent
    total = unfinished(agents)
    for queue in () if queues is None else queues.values():
        if queue is agents.parent:
            continue
        other = queue.dispatchers._data.get(str(agents.UUID))
        if other is None or agents.boot is None:
            continue
        if other.boot == agents.boot:
            total += unfinished(other)
        if other.left[0] == agents.boot:
            total += other.left[1]
    return total


def death_of(agents, notes: Iterable = ()) -> Death:
    """What is known of the end of the process that worked for these agents.

    ``notes`` are what supervisors saw; see ``supervisor.read_notes``.
    """
    host, pid = agents.process
    death = Death(
        at_us=clock.now_us(),
        worker=str(agents.UUID),
        host=host,
        pid=pid,
        alone=left_by(agents) == 1,
    )
    for note in notes:
        if pid is not None and (note.host, note.pid) == (host, pid):
            return replace(
                death,
                at_us=note.at_us,
                exit_code=note.exit_code,
                signal=note.signal,
                peak_rss=note.peak_rss,
                lines=note.lines,
            )
    return death


def interrupt(agent, job, death: Death | None) -> bool:
    """Let a job of a process that is gone wait again; whether to set it aside instead.

    ``death`` is None if the process was stopped in order. A policy is asked only if
    it is known that this attempt began. A job that was in its callbacks goes on with
    them: they have policies of their own.
    """
    begun = (
        job._status == 1 or job._begun_attempt == job.attempt or agent.is_running(job)
    )
    if job._status == 2:
        # Where the process did its own work, too, that is in the job's record.
        _blame_callback(job, death, begun or same(job._parent, agent))
        return False
    if not begun:
        # It may not even have begun, so this counts for nothing.
        job.attempt += 1
        if death is not None and not job._suspect:
            job._suspect = 1
        return False
    if death is None:
        _excuse(job)
        return False
    counts = death.alone or job._suspect >= UNEXPLAINED
    if job._begun_attempt == job.attempt:
        death = replace(death, thread=job._begun_thread)
    _keep_evidence(job, death, counts)
    if not (counts and job._suspect):
        job._suspect = int(job._suspect) + 1
    if not counts:
        _excuse(job)
        return False
    if decide_interrupt(job) != "abort":
        return False
    if not getattr(job.getRetryPolicy(), "quarantine", False):
        return False
    job._aborting = False
    return True


def _blame_callback(job, death: Death | None, begun: bool) -> None:
    """Put a death down to the callback that the job was at; it may be one too many."""
    if death is not None:
        counts = begun and (death.alone or job._suspect >= UNEXPLAINED)
        callback = givingup.current(job) if begun else None
        if callback is not None:
            if job._begun_attempt == job.attempt:
                death = replace(death, thread=job._begun_thread)
            _keep_evidence(callback, death, counts)
            if counts:
                givingup.fail_deadly(callback, callback._deaths.count)
        if not job._suspect or begun and not counts:
            job._suspect = min(int(job._suspect) + 1, UNEXPLAINED)
    job.attempt += 1


def _keep_evidence(job, death: Death, counts: bool) -> None:
    if job._deaths is None:
        job._deaths = Evidence()
    job._deaths.add(death)
    if counts:
        job._deaths.count += 1


def _excuse(job) -> None:
    """Ask the policy of a job that was disturbed through no fault of its own."""
    policy = job.getRetryPolicy()
    if not hasattr(policy, "disturbed"):
        # One of the application's, which knows interruptions only.
        decide_interrupt(job)
        return
    job.put_off(None)
    if not ask(policy, "disturbed"):
        job.abort_next()


# In a worker


def seconds_alone(job) -> float:
    """For how long nothing may be begun beside this job; 0 for most."""
    if not job._suspect:
        return 0.0
    return ALONE_FIRST * ALONE_GROWTH ** (min(job._suspect, UNEXPLAINED) - 1)


def may_begin(job, waiting: int, ages: Iterable[float]) -> bool:
    """Whether a process may begin this job now.

    ``waiting`` is how many jobs it has claimed and not begun, ``ages`` for how many
    seconds it has been running the others.
    """
    if not job._suspect:
        return True
    return not waiting and all(job._suspect == 1 and age >= ALONE_FIRST for age in ages)
