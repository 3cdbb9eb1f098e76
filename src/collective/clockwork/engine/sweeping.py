"""What becomes of claimed jobs: filed, given back, or taken from a dead worker.

The counterpart of ``claims``: who calls this is a claimer, too.
"""

from __future__ import annotations

from . import live
from . import progress
from . import quarantine
from . import retention
from .attempt import DONE
from .base import identity
from .deaths import Death
from .deaths import interrupt
from .places import drop
from .places import park
from .places import place
from .places import readable
from .places import wait
from .places import waiting_key


#: A job that was claimed but not begun goes back.
UNSTARTED = "unstarted"


def sweep(queue, agent, reports: dict, outer_jobs: list, now_us: int) -> None:
    """Move what became of claimed jobs to where it belongs.

    ``reports`` maps claims (identity and attempt) to what a run returned; jobs
    that are not in it stay claimed. ``outer_jobs`` are jobs that had waited for one
    of these, and are finished.
    """
    if not reports and not outer_jobs:
        return
    kept, finished, leaving = [], [], []
    for entry in agent.claims.entries:
        job, attempt, key = entry
        outcome = reports.get((*identity(job), attempt))
        if outcome is None:
            kept.append(entry)
            continue
        live.keep(agent, job)
        # While it is in this agent's claims nobody else has it, so whatever a
        # thread believes of it, what counts is how the job stands there.
        if outcome == DONE:
            finished.append((job, outcome))
        elif not readable(job):
            leaving.append(job)
            park(queue, job, now_us)
        elif job._status == 3:
            finished.append((job, None))
        elif job.is_waiting:
            wait(queue, job)
        else:
            leaving.append(job)
            place(queue, job, key, now_us)
    if len(kept) != len(agent.claims.entries):
        agent.claims.entries = tuple(kept)
    for job in outer_jobs:
        # One that is claimed still is swept by its own agent.
        number = waiting_key(queue, job)
        if number is not None and job._status == 3:
            del queue.waiting[number]
            finished.append((job, None))
    if leaving or finished:
        drop(queue, [*leaving, *(job for job, _outcome in finished)])
    retention.file(queue, agent, finished)


def take_back(queue, agent, now_us: int, death: Death | None = None) -> int:
    """Take the claimed jobs of a dispatcher that is gone; returns how many.

    ``death`` says of what it died; None if it was stopped in order.
    Each unfinished job is written, which makes a late commit of the one that
    was taken for dead fail.
    """
    entries = agent.claims.entries
    finished, leaving = [], []
    for job, attempt, key in entries:
        leaving.append(job)
        if not readable(job):
            park(queue, job, now_us)
            continue
        live.keep(agent, job)
        if job._status == 3:
            finished.append((job, None))
        elif job.is_waiting:
            leaving.pop()
            wait(queue, job)
        elif _is_at(job, attempt) and interrupt(agent, job, death):
            quarantine.set_aside(queue, job, now_us)
        else:
            place(queue, job, key, now_us)
    drop(queue, leaving)
    retention.file(queue, agent, finished)
    # Written in any case: a claim of that dispatcher at this moment must fail.
    agent.claims.entries = ()
    progress.forget_all(agent)
    if agent.activity.running:
        agent.activity.running = ()
    recover_waiting(queue, agent, now_us)
    return len(entries)


def recover_waiting(queue, agent, now_us: int) -> None:
    """Outer jobs that ended in a process which could not say so any more."""
    for number, job in list(queue.waiting.items()):
        if job.is_waiting:
            continue
        del queue.waiting[number]
        drop(queue, [job])
        if job._status == 3:
            retention.file(queue, agent, [(job, None)])
        else:
            job.attempt += 1
            job.parent = queue
            place(queue, job, None, now_us)


def _is_at(job, attempt: int) -> bool:
    return job.attempt == attempt or job._status == 2
