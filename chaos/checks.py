"""What must hold at the end of a run, whatever went wrong in it."""

from __future__ import annotations

from chaos import optionchecks
from chaos.ledger import LEDGER
from chaos.ledger import NOT_QUEUED
from chaos.ledger import Record
from collections import Counter
from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Iterator
from collective.clockwork.engine.failure import isFailure
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.interfaces import NEW
from pathlib import Path

import contextlib


#: Kind of job to the error that it must end with.
MUST_FAIL = {
    "failing": "ValueError",
    "unstorable": "TypeError",
    "poison": "QuarantinedError",
    "grouped failing": "ValueError",
    "overdue": "JobTimeoutError",
    "hanging": "JobTimeoutError",
}
#: The error with which any job may end: it was interrupted too often.
MAY_FAIL = "AbortedError"


def records(root) -> Iterator[tuple[str, Record]]:
    """All rows of the ledger with their names."""
    for number, rows in root[LEDGER].items():
        for position, record in rows.items():
            yield f"{record.kind} {number}.{position}", record


def every_job(root) -> Iterator[tuple]:
    """Name, kind, job and entry of all jobs; of a batch's members too.

    But not of those that a batch has not put, and never will because it failed.
    """
    for name, record in records(root):
        if record.answer in NOT_QUEUED:
            continue
        batch = record.kind in ("serial", "parallel")
        failed = batch and error_of(record.job) is not None
        yield name, record.kind, record.job, record.entry
        for number, (job, entry) in enumerate(record.parts):
            if failed and job.status == NEW:
                continue
            yield f"{name} part {number}", "part" if batch else "after", job, entry


def count_jobs(root) -> int:
    """How many jobs were queued, not counting callbacks."""
    return sum(kind != "after" for _, kind, _, _ in every_job(root))


def unfinished(root, limit: int = 20) -> list[str]:
    """Names of some jobs that are not completed, with where they are."""
    found = []
    for name, _, job, _ in every_job(root):
        if job._status != 3:
            place = type(job.parent).__name__
            found.append(
                f"{name} is {job.status} in {place}, attempt {job.attempt}, "
                f"waits for {job.waits_for}, due {job.begin_after}"
            )
            if len(found) >= limit:
                break
    return found


def count_unfinished(root) -> int:
    """How many jobs are not completed."""
    return sum(1 for _, _, job, _ in every_job(root) if job._status != 3)


def outcomes(root) -> Counter:
    """How many jobs ended how."""
    count: Counter = Counter()
    for _, kind, job, _ in every_job(root):
        if kind == "after":
            continue
        ended = error_of(job) or "completed"
        count[ended] += 1
    return count


def error_of(job) -> str | None:
    """Name of the class of the error that a job ended with."""
    if not isFailure(job.result):
        return None
    return job.result.typeName.rpartition(".")[2]


def snapshot(root) -> dict:
    """What must not change once all is done."""
    return {
        name: (str(job.status), repr(job.result)[:80], entry.effects)
        for name, _, job, entry in every_job(root)
    }


def violations(root, directory: Path) -> list[str]:
    """All that is not as it must be, in words."""
    found = [f"not finished: {text}" for text in unfinished(root)]
    rows = list(records(root))
    allowed = {name: optionchecks.allowed_errors(record) for name, record in rows}
    for name, kind, job, entry in every_job(root):
        found += check_effect(name, kind, job, entry, allowed.get(name, {None}))
    found += check_places(root)
    found += check_order(root)
    spans = read_spans(directory)
    found += check_overlap(root, spans)
    found += optionchecks.check_answers(rows)
    found += optionchecks.check_loops(rows, directory, lambda job: not error_of(job))
    found += optionchecks.check_alone(rows, spans)
    return found


def check_effect(
    name: str, kind: str, job, entry, allowed: Iterable = (None,)
) -> Iterator[str]:
    """A job ended as its kind must, and its effect is there once or not at all.

    ``allowed`` are names of errors that a job of no such kind may end with.
    """
    error = error_of(job)
    if kind in MUST_FAIL:
        if error not in (MUST_FAIL[kind], MAY_FAIL):
            yield f"{name} should have failed, and ended with {error}"
    elif error not in (*allowed, MAY_FAIL):
        said = "nothing" if error is None else job.result.getErrorMessage()
        yield f"{name} should not have ended with {error}, and failed: {said}"
    expected = 1 if error is None else 0
    if kind in ("serial", "parallel") and error is None and not job.result:
        yield f"{name} has the result {job.result!r}"
    if len(entry.effects) != expected:
        yield f"{name} ended with {error}, and has the effects {entry.effects}"


def check_places(root) -> Iterator[str]:
    """Each job is in one place, and that is a completed collection."""
    queue = root[KEY][""]
    completed: Counter = Counter()
    held: Counter = Counter()
    for agents in queue.dispatchers.values():
        for agent in agents.values():
            completed.update(job._p_oid for job in agent.completed)
            held.update(job._p_oid for job in agent)
    held.update(job._p_oid for job in queue)
    held.update(job._p_oid for job in queue.waiting.values())
    for name, kind, job, _ in every_job(root):
        if kind == "after":
            continue
        if (completed[job._p_oid], held[job._p_oid]) != (1, 0):
            yield (
                f"{name} is {completed[job._p_oid]} times among the completed "
                f"and {held[job._p_oid]} times elsewhere"
            )


def check_order(root) -> Iterator[str]:
    """In a line, those who got through did so in the order of queueing."""
    places = [
        (name, record.entry.place)
        for name, record in records(root)
        if record.kind == "line" and record.entry.effects
    ]
    yield from check_ascending(places)
    for name, record in records(root):
        if record.kind == "serial":
            entries = [entry for _, entry in record.parts if entry.effects]
            yield from check_ascending([(name, entry.place) for entry in entries])


def check_ascending(places: list[tuple]) -> Iterator[str]:
    """These names and places count from 1."""
    for number, (name, place) in enumerate(places, 1):
        if place != number:
            yield f"{name} was the {place}. to commit, and the {number}. queued"


def read_spans(directory: Path) -> dict[tuple, list[float]]:
    """Key and attempt of a job to the moments at which it began and ended."""
    spans: dict[tuple, list[float]] = defaultdict(list)
    for path in directory.glob("line-*.txt"):
        for line in path.read_text().splitlines():
            # The last line of a killed process may be half of one.
            with contextlib.suppress(ValueError):
                moment, _, key, attempt = line.rsplit(None, 3)
                spans[key, int(attempt)].append(float(moment))
    return spans


def check_overlap(root, spans: dict) -> Iterator[str]:
    """No two of the quota "line" ran at once, but for those taken for dead.

    An attempt that was taken over may still run in a process that was frozen;
    it cannot commit. So those attempts are compared that have committed.
    """
    last, last_name = 0.0, ""
    for name, record in records(root):
        if record.kind != "line" or not record.entry.effects:
            continue
        span = spans[name.removeprefix("line "), record.entry.attempt]
        if len(span) < 2:
            yield f"{name} committed an attempt that nobody saw: {span}"
        elif min(span) < last:
            yield f"{name} began before {last_name} had ended"
        last, last_name = max(span, default=last), name
