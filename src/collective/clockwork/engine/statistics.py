"""Numbers on what a dispatcher did, gathered from its polls when asked for."""

from __future__ import annotations

from . import clock
from .jobrecords import JobRecord
from .jobrecords import JobRecords
from .polls import PollInfo


def gather(
    polls: list[PollInfo],
    jobs: JobRecords,
    queue: str | None = None,
    agent: str | None = None,
) -> dict:
    """What became of the jobs that these polls, newest first, claimed.

    ``started``, ``successful``, ``failed``, ``cancelled`` are numbers of jobs; of
    ``unknown`` ones nothing but the claim is remembered. ``shortest`` and ``longest``
    ``successful``, ``failed``, ``cancelled``, ``active`` are ids of jobs, or None.
    ``statistics start`` and ``end`` are the moments of the oldest and of the
    newest poll; in zc.async it was the other way round.
    """
    claimed = {id for poll in polls for id in poll.new_jobs(queue, agent)}
    records = [jobs.record(id) for id in claimed]
    known = [record for record in records if record is not None]
    groups = {"successful": [], "failed": [], "cancelled": [], "active": []}
    for record in known:
        if record.started is None or record.reassigned:
            continue
        groups[_group_of(record)].append(record)
    result = {
        "started": len(claimed),
        "successful": len(groups["successful"]),
        "failed": len(groups["failed"]),
        "cancelled": len(groups["cancelled"]),
        "unknown": len(records) - len(known),
        "statistics start": polls[-1].utc_timestamp if polls else None,
        "statistics end": polls[0].utc_timestamp if polls else None,
    }
    for name, group in groups.items():
        group.sort(key=_duration)
        result[f"shortest {name}"] = group[0].id if group else None
        result[f"longest {name}"] = group[-1].id if group else None
    return result


def _group_of(record: JobRecord) -> str:
    if record.ended is None:
        return "active"
    if record.cancelled:
        return "cancelled"
    return "failed" if record.failed else "successful"


def _duration(record: JobRecord) -> int:
    ended = clock.now_us() if record.ended is None else record.ended
    return ended - record.started
