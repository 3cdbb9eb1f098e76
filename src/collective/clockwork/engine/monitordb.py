"""The monitor command ``asyncdb``: what the database knows of jobs.

The tools are functions of a connection, or of anything that can be adapted to
one, and usable by any code; what they return, the command shows as JSON. They
read only, in a transaction of their caller.

``states`` are some of pending, assigned, active, callbacks, and one of
completed, succeeded, failed, cancelled. The filters are those of ``jobsearch.Search``.
"""

from __future__ import annotations

from . import clock
from .base import database_name
from .failure import isFailure
from .interfaces import IJob
from .jobsearch import CANCELLED
from .jobsearch import COMPLETED
from .jobsearch import connection_of
from .jobsearch import FAILED
from .jobsearch import outcome
from .jobsearch import PENDING
from .jobsearch import Search
from .jobsearch import started
from .jobsearch import STATES
from .monitortext import call_tool
from .monitortext import parse_number
from .monitortext import tell_help
from .run import brief
from collections.abc import Callable
from collections.abc import Iterator
from datetime import timedelta
from itertools import chain
from itertools import islice
from ZODB.interfaces import IDatabase
from ZODB.POSException import POSKeyError
from ZODB.utils import p64
from ZODB.utils import u64
from zope.component import queryUtility

import transaction


#: Pending jobs at the head of the queues that ``jobstats`` reads for waits.
SAMPLE = 1_000

FILTERS = """Filters:
    callable:GLOB   of the function's name; with a dot, of its dotted name
    queue:GLOB agent:GLOB uuid:GLOB   (uuid:THIS is this process)
    requested_start:SPAN start:SPAN end:SPAN callbacks_completed:SPAN
A span is sinceX, beforeX or sinceX,beforeX, and X how long ago: [nD][nH][nM][nS].
"""


def _with_filters(function: Callable) -> Callable:
    function.__doc__ = f"{function.__doc__.rstrip()}\n\n    " + FILTERS.replace(
        "\n", "\n    "
    )
    return function


def job_id(job) -> tuple[int | None, str | None]:
    """Oid and name of the database; None where it is not committed."""
    oid = job._p_oid
    return None if oid is None else u64(oid), database_name(job)


def details(job) -> dict:
    """All that is known of a job, in words and numbers."""
    agent, queue, result = job.agent, job.queue, job._result
    ended = outcome(job)
    if isFailure(result):
        text = result.getBriefTraceback()
    else:
        text = brief(result)
    return {
        "active": active_time(job, agent),
        "active end": job.active_end,
        "active start": job.active_start,
        "agent": None if agent is None else agent.name,
        "args": [brief(value) for value in job.args],
        "begin after": job.begin_after,
        "callbacks": [job_id(callback) for callback in job.callbacks],
        "cancelled": ended == CANCELLED,
        "dispatcher": None if agent is None else agent.parent.UUID,
        "failed": ended == FAILED,
        "initial callbacks end": job.initial_callbacks_end,
        "kwargs": {name: brief(value) for name, value in job.kwargs.items()},
        "queue": None if queue is None else queue.name,
        "quota names": job.quota_names,
        "repr": repr(job),
        "result": text,
        "status": job.status,
        "wait": wait_time(job, agent),
    }


def wait_time(job, agent=None) -> timedelta | None:
    """How long it waited after it might have begun; None if it may not yet."""
    since = job.begin_after
    until = started(job, agent) or job.active_end or clock.now()
    return None if since is None or until < since else until - since


def active_time(job, agent=None) -> timedelta | None:
    """How long it ran, until now if it runs still; None if it was not begun."""
    since = started(job, agent)
    if since is None:
        return None
    return (job.active_end or clock.now()) - since


DISPLAYS = {"default": job_id, "repr": repr, "details": details, "detail": details}


def _display(name: str) -> Callable:
    if name not in DISPLAYS:
        raise ValueError(
            f"display is {name!r}: it must be one of {', '.join(DISPLAYS)}"
        )
    return DISPLAYS[name]


@_with_filters
def jobs(
    context,
    *states: str,
    display: str = "default",
    count: str | int | None = None,
    **filters: str,
) -> list:
    """The jobs of these states, as oid and database.

    Usage: jobs STATE... [FILTER...] [display:default|repr|details] [count:N]
    """
    show = _display(display)
    search = Search(connection_of(context), states, **filters)
    return [show(job) for job in islice(search, parse_number("count", count))]


@_with_filters
def count(context, *states: str, **filters: str) -> int:
    """How many jobs of these states there are.

    Usage: count STATE... [FILTER...]
    Pending and completed jobs are counted without reading them, if there is no
    filter by function or time.
    """
    return Search(connection_of(context), states, **filters).count()


@_with_filters
def jobstats(context, *states: str, display: str = "default", **filters: str) -> dict:
    """Numbers of jobs by state, longest and shortest times of waiting and running.

    Usage: jobstats [STATE...] [FILTER...] [display:default|repr|details]
    Of many pending jobs, without filters, the first 1,000 and the newest ones
    are looked at for the times.
    """
    show = _display(display)
    if not states:
        states = ("pending", "assigned", "active", "callbacks", "completed")
    search = Search(connection_of(context), states, **filters)
    numbers = dict.fromkeys((s for s in STATES if s != COMPLETED), 0)
    extremes = Extremes()
    states_left = set(search.states)
    pending = search.count_pending() if PENDING in states_left else None
    if pending is not None and pending > SAMPLE:
        numbers[PENDING] = pending
        states_left.discard(PENDING)
        for job in chain(islice(search, SAMPLE), newest(search)):
            extremes.note("wait", wait_time(job), job)
    for state, job in search.with_states(states_left):
        numbers[state] += 1
        # Where the agent is that is asked when an assigned job began.
        agent = job.agent if state in ("assigned", "active") else None
        extremes.note("wait", wait_time(job, agent), job)
        extremes.note("active", active_time(job, agent), job)
    return {**numbers, **extremes.shown(show)}


class Extremes:
    """The jobs that took longest and shortest."""

    def __init__(self):
        self.found: dict[str, tuple | None] = {
            f"{which} {kind}": None
            for kind in ("wait", "active")
            for which in ("longest", "shortest")
        }

    def note(self, kind: str, duration: timedelta | None, job) -> None:
        """Take a job into account; None does not count."""
        if duration is None:
            return
        longest, shortest = (self.found[f"{w} {kind}"] for w in ("longest", "shortest"))
        if longest is None or duration > longest[0]:
            self.found[f"longest {kind}"] = (duration, job)
        if shortest is None or duration < shortest[0]:
            self.found[f"shortest {kind}"] = (duration, job)

    def shown(self, show: Callable) -> dict:
        """What was found, with jobs as ``show`` shows them."""
        return {
            name: None if found is None else [found[0], show(found[1])]
            for name, found in self.found.items()
        }


def newest(search: Search) -> Iterator:
    """The job that was queued last in each place where pending ones wait."""
    for queue in search.queues():
        for lane in queue.lanes.values():
            if lane.length:
                yield lane.jobs[lane.jobs.maxKey()]
        for intake in queue.intakes.values():
            items = intake.items
            last = items.maxKey() if len(intake) else 0
            if last and items[last] is not None and last not in intake.cursor.taken:
                yield items[last]


def find_job(context, oid: str | int, database: str | None = None):
    """The job with that oid; ValueError if there is none."""
    connection = connection_of(context)
    number = parse_number("the oid", oid)
    try:
        if database is not None:
            connection = connection.get_connection(database)
        job = connection.get(p64(number))
        job._p_activate()
    except KeyError as error:
        what = f"object {number}" if isinstance(error, POSKeyError) else "database"
        raise ValueError(f"there is no {what} in {database or 'it'}") from error
    if not IJob.providedBy(job):
        raise ValueError(f"object {number} is a {type(job).__name__}, not a job")
    return job


def job(context, OID: str | int, database: str | None = None) -> dict:
    """All that is known of a job.

    Usage: job OID [DATABASE]
    """
    return details(find_job(context, OID, database))


def traceback(
    context, OID: str | int, database: str | None = None, detail: str = "default"
) -> str | None:
    """The traceback of a job that failed, else null.

    Usage: traceback OID [DATABASE] [detail:brief|default|verbose]
    """
    if detail not in ("brief", "default", "verbose"):
        raise ValueError(f"detail is {detail!r}: it must be brief, default, or verbose")
    found = find_job(context, OID, database)
    result = found._result
    if not isFailure(result):
        return None
    if detail == "brief":
        return result.getBriefTraceback()
    text = result.getTraceback()
    if detail == "verbose":
        text = f"{found!r}\nended {found.active_end} with {result.typeName}:\n{text}"
    return text


@_with_filters
def nextpending(context, **filters: str) -> dict | None:
    """Details of the job that is claimed next; null if none waits.

    Usage: nextpending [FILTER...], but no start, end or callbacks_completed
    """
    for name in ("start", "end", "callbacks_completed"):
        if name in filters:
            raise ValueError(f"a pending job has no {name}: leave that filter out")
    return _first(Search(connection_of(context), ["pending"], **filters))


@_with_filters
def lastcompleted(context, **filters: str) -> dict | None:
    """Details of the job that was completed last; null if there is none.

    Usage: lastcompleted [FILTER...]
    """
    return _first(Search(connection_of(context), ["completed"], **filters))


def _first(search: Search) -> dict | None:
    for found in search:
        return details(found)
    return None


def UUIDs(context) -> list[str]:
    """The UUIDs of the dispatchers that are active in any queue."""
    search = Search(connection_of(context), ["pending"])
    return sorted(
        {
            str(entry.UUID)
            for queue in search.queues()
            for entry in search.entries(queue)
            if entry.activated
        }
    )


def status(
    context,
    queue: str | None = None,
    agent: str | None = None,
    uuid: str | None = None,
) -> dict:
    """The queues: how many wait, which dispatchers are active, and their agents.

    Usage: status [queue:GLOB] [agent:GLOB] [uuid:GLOB]
    """
    search = Search(
        connection_of(context), ["pending"], queue=queue, agent=agent, uuid=uuid
    )
    return {
        each.name: {
            "len": len(each),
            "dispatchers": {
                str(entry.UUID): _dispatcher_status(search, each, entry)
                for entry in search.entries(each)
                if entry.activated
            },
        }
        for each in search.queues()
    }


def _dispatcher_status(search: Search, queue, entry) -> dict:
    ping = entry.last_ping
    agents = {}
    for agent in search.agents_in(queue):
        if agent.parent is not entry:
            continue
        chosen = "filter" if agent.chooser is None else "chooser"
        agents[agent.name] = {
            "size": agent.size,
            "len": len(agent),
            chosen: getattr(agent, chosen),
        }
    return {
        "last ping": ping,
        "since ping": None if ping is None else clock.now() - ping,
        # A process that looks for the first time cannot know of a silence by
        # its own clock.
        "dead": entry.dead or not entry.alive,
        "ping interval": entry.ping_interval,
        "ping death interval": entry.ping_death_interval,
        "agents": agents,
    }


def help(context=None, tool: str | None = None) -> str:
    """What the tools do.

    Usage: help [TOOL]
    """
    return tell_help("asyncdb", TOOLS, tool)


TOOLS = {
    "UUIDs": UUIDs,
    "count": count,
    "help": help,
    "job": job,
    "jobs": jobs,
    "jobstats": jobstats,
    "lastcompleted": lastcompleted,
    "nextpending": nextpending,
    "status": status,
    "traceback": traceback,
}


def asyncdb(connection, tool: str | None = None, *raw: str) -> None:
    """Tell what the database knows of jobs: status, jobs, count, jobstats.

    To get the tools: asyncdb help.
    ``connection`` needs a method ``write``. The database is its attribute
    ``db``, or the utility IDatabase. ValueError for wrong arguments.
    """
    if tool in (None, "help"):
        connection.write(help(None, *raw))
        return
    database = getattr(connection, "db", None) or queryUtility(IDatabase)
    if database is None:
        raise ValueError(
            "which database? Give the monitor one, or register it as IDatabase"
        )
    tm = transaction.TransactionManager()
    opened = database.open(tm)
    try:
        connection.write(call_tool(TOOLS, tool, raw, opened))
    finally:
        tm.abort()
        opened.close()
