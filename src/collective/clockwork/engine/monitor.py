"""The monitor command ``async``: what this process's dispatcher does.

It looks into the memory of the process only, never into the database. The
tools are functions that any code may call; what they return, the command
shows as JSON. Named ``async`` in zc.async, which is a keyword by now.
"""

from __future__ import annotations

from . import clock
from . import dispatcher as registry
from .interfaces import IUUID
from .monitortext import call_tool
from .monitortext import parse_moment
from .monitortext import parse_number
from .monitortext import tell_help
from .monitortext import to_text
from .polls import PollInfo
from datetime import timedelta
from uuid import UUID as UUIDType
from zope.component import queryUtility


#: Polls that ``polls`` shows when it is not told how many.
DEFAULT_COUNT = 3


def find_dispatcher(uuid: str | UUIDType | None = None):
    """The dispatcher of this process with that UUID, by default the process's.

    ValueError if there is none, or the UUID is none.
    """
    known = registry.all_dispatchers()
    if uuid is None:
        own = queryUtility(IUUID)
        found = [each for each in known if each.UUID == own]
        if not found and len(known) == 1:
            found = known
    else:
        wanted = parse_uuid(uuid)
        found = [each for each in known if each.UUID == wanted]
    if not found:
        names = ", ".join(str(each.UUID) for each in known) or "none"
        raise ValueError(
            f"no dispatcher {'' if uuid is None else uuid} is in this process; it "
            f"has: {names}"
        )
    return found[0]


def parse_uuid(text: str | UUIDType) -> UUIDType:
    """The UUID of a text, or the process's for THIS; ValueError if it is none."""
    if isinstance(text, UUIDType):
        return text
    if text.upper() == "THIS":
        return find_dispatcher().UUID
    try:
        return UUIDType(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no UUID, nor THIS") from error


def status(uuid: str | None = None) -> dict:
    """Whether the dispatcher works: RUNNING, STARTING, STUCK or STOPPED.

    Usage: status [uuid:UUID]
    """
    info = dict(find_dispatcher(uuid).getStatusInfo())
    for name in ("poll interval", "time since last poll", "uptime"):
        seconds = info[name]
        if isinstance(seconds, int | float):
            info[name] = timedelta(seconds=seconds)
    return info


def jobs(
    queue: str | None = None, agent: str | None = None, uuid: str | None = None
) -> list:
    """The jobs that run, or wait for a Deferred, at this instant: oid and database.

    Usage: jobs [queue:NAME] [agent:NAME] [uuid:UUID]
    """
    return find_dispatcher(uuid).getActiveJobIds(queue, agent)


def job(OID: str | int, database: str | None = None, uuid: str | None = None) -> dict:
    """What is remembered of a job that this process has claimed.

    Usage: job OID [database:NAME] [uuid:UUID]
    """
    oid = parse_number("the oid", OID)
    return find_dispatcher(uuid).getJobInfo(oid, database)


def jobstats(
    at: str | None = None,
    before: str | None = None,
    since: str | None = None,
    queue: str | None = None,
    agent: str | None = None,
    uuid: str | None = None,
) -> dict:
    """Numbers on the jobs that were claimed: started, successful, failed, cancelled.

    Usage: jobstats [at:MOMENT | before:MOMENT] [since:MOMENT] [queue:NAME]
           [agent:NAME] [uuid:UUID]
    A moment is the key of a poll, or how long ago it was: [nD][nH][nM][nS].
    """
    return find_dispatcher(uuid).getStatistics(
        parse_moment(at), parse_moment(before), parse_moment(since), queue, agent
    )


def poll(
    at: str | None = None, before: str | None = None, uuid: str | None = None
) -> dict:
    """A recorded poll, by default the newest: its key, time, and results.

    Usage: poll [at:MOMENT | before:MOMENT] [uuid:UUID]
    A moment is the key of a poll, or how long ago it was: [nD][nH][nM][nS].
    """
    dispatcher = find_dispatcher(uuid)
    return _shown(dispatcher.getPollInfo(parse_moment(at), parse_moment(before)))


def polls(
    at: str | None = None,
    before: str | None = None,
    since: str | None = None,
    count: str | int | None = None,
    uuid: str | None = None,
) -> list:
    """Recorded polls, the newest first; three of them unless told otherwise.

    Usage: polls [at:MOMENT | before:MOMENT] [since:MOMENT] [count:N] [uuid:UUID]
    A moment is the key of a poll, or how long ago it was: [nD][nH][nM][nS].
    """
    number = parse_number("count", count)
    if number is None and since is None:
        number = DEFAULT_COUNT
    found = find_dispatcher(uuid).iterPolls(
        parse_moment(at), parse_moment(before), parse_moment(since), number
    )
    return [_shown(each) for each in found]


def _shown(info: PollInfo) -> dict:
    return {"key": info.key, "time": info.utc_timestamp, "results": info}


def utcnow() -> str:
    """The present moment in UTC."""
    return f"{clock.now().replace(tzinfo=None).isoformat()}Z"


def UUID() -> str:
    """The UUID of this process's dispatcher."""
    return str(find_dispatcher().UUID)


def help(tool: str | None = None) -> str:
    """What the tools do.

    Usage: help [TOOL]
    """
    return tell_help("async", TOOLS, tool)


TOOLS = {
    "UUID": UUID,
    "help": help,
    "job": job,
    "jobs": jobs,
    "jobstats": jobstats,
    "poll": poll,
    "polls": polls,
    "status": status,
    "utcnow": utcnow,
}


def async_(connection, tool: str | None = None, *raw: str) -> None:
    """Tell what this process's dispatcher does: status, jobs, polls.

    To get the tools: async help. Registered under the name "async".
    ``connection`` needs a method ``write``. ValueError for wrong arguments.
    """
    if tool is None:
        connection.write(help())
    else:
        connection.write(call_tool(TOOLS, tool, raw))


__all__ = ["TOOLS", "async_", "find_dispatcher", "parse_uuid", "to_text"]
