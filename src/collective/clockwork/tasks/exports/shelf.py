"""The exports of users: started, listed, opened and removed.

The ids of a user's exports stand in an annotation of the site. The jobs and their files
are kept by the engine, for ``KEEP``; what is listed or opened has to be as young.
"""

from __future__ import annotations

from AccessControl import getSecurityManager
from AccessControl import Unauthorized
from BTrees.OOBTree import OOBTree
from collections.abc import Mapping
from collections.abc import Sequence
from collective.clockwork import identity
from collective.clockwork import jobrules
from collective.clockwork.engine import clock
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.jobinfo import ENDED
from collective.clockwork.jobinfo import JobInfo
from collective.clockwork.tasks import offer
from collective.clockwork.tasks.exports.columns import check_columns
from collective.clockwork.tasks.exports.columns import USUAL
from collective.clockwork.tasks.exports.files import ExportFile
from collective.clockwork.tasks.exports.files import WRITERS
from collective.clockwork.tasks.exports.query import check_query
from collective.clockwork.tasks.exports.query import is_collection
from dataclasses import dataclass
from datetime import datetime
from Products.CMFCore.utils import getToolByName
from typing import Any
from ZODB.interfaces import IBlobStorage
from zope.annotation.interfaces import IAnnotations
from zope.component import getUtility

import logging


logger = logging.getLogger("collective.clockwork")

#: Name of the annotation: id of a user to a tuple of ids of jobs, oldest first.
#: Written when she starts and removes an export. Users of several user folders may
#: have the same id; whose an export is says the job.
ANNOTATION = "collective.clockwork.exports"
#: So many exports of a user are remembered, the newest.
MOST = 100

NAME = "export"


class NoBlobsError(LookupError):
    """The database of the queues stores no files; says what can be done."""


@dataclass(frozen=True)
class Export:
    """One export, as it was when it was asked for."""

    job: JobInfo
    #: Name of the format.
    format: str
    #: Whether there is a file to download.
    is_ready: bool = False
    #: Of the file, and None as long as there is none.
    name: str | None = None
    size: int | None = None
    rows: int | None = None
    #: Until when it is kept; aware, in UTC.
    until: datetime | None = None


@dataclass(frozen=True)
class Opened:
    """A file for whoever sends it."""

    name: str
    content_type: str
    size: int
    #: Where its content is on this machine.
    path: str


def start(
    context: Any,
    query: Mapping[str, Any] | None = None,
    columns: Sequence[str] = USUAL,
    format: str = "csv",
    *,
    notify: str | None = None,
) -> Any:
    """Queue an export for the current user, in the caller's transaction; the job.

    ``query`` is one for the catalog, with plain values; without it the context is a
    collection, and its query is asked. ``columns`` are names of metadata, ``url`` and
    ``path``; ``format`` is ``"csv"`` or ``"xlsx"``. TypeError or ValueError for what
    cannot be exported, NoBlobsError if the database of the queues stores no files, and
    Unauthorized for anonymous visitors.
    """
    catalog = getToolByName(context, "portal_catalog")
    if query is not None:
        query = check_query(query, catalog)
    elif not is_collection(context):
        raise ValueError(f"{context!r} is no collection, so it has no query: pass one")
    columns = check_columns(columns, catalog)
    if format not in WRITERS:
        raise ValueError(f"format is {format!r}: pass one of {', '.join(WRITERS)}")
    user_id = _user_id()
    _require_blobs()
    job = offer.start(
        offer.TASKS[NAME],
        context,
        notify=notify,
        query=query,
        columns=columns,
        format=format,
    )
    known = [id for id in _ids(user_id) if not _is_gone(id)]
    _remember(user_id, (*known, job.id)[-MOST:])
    logger.info("export %s was started by %s", job.id, user_id)
    return job


def mine() -> list[Export]:
    """The exports of the current user, the newest first; what is too old is left out.

    Unauthorized for anonymous visitors.
    """
    viewer = jobrules.current()
    found = [look(id) for id in reversed(_ids(_user_id()))]
    # A namesake in another user folder has the same list.
    return [
        export
        for export in found
        if export is not None and viewer.owns(_job(export.job.id))
    ]


def look(id: str) -> Export | None:
    """What is known of an export; None if there is none with this id.

    None also for one of another user, unless the current one may manage jobs.
    """
    try:
        return _look(id)
    except Unauthorized:
        return None


def open_file(id: str) -> Opened | None:
    """The file of an export that is ready; None if there is none for this user."""
    export = look(id)
    if export is None or not export.is_ready:
        return None
    made = _job(id).stored_result
    logger.info("export %s was downloaded by %s", id, jobrules.current().user_id)
    return Opened(made.name, made.content_type, made.size, made.blob.committed())


def remove(id: str) -> bool:
    """Forget an export that has ended, and let go of its file; whether there was one.

    One that has not ended is left as it is. The content is out of the database after
    the next pack.
    """
    export = look(id)
    if export is None or export.job.status not in ENDED:
        return False
    made = _job(id).stored_result
    if isinstance(made, ExportFile):
        made.remove()
    owner = export.job.user
    _remember(owner, tuple(known for known in _ids(owner) if known != id))
    logger.info("export %s was removed by %s", id, jobrules.current().user_id)
    return True


def _job(id: str) -> Any:
    return getUtility(IAsyncService).getJob(id)


def _look(id: str) -> Export | None:
    """The export of this id; Unauthorized for one that the user may not see."""
    job = _job(id)
    task = offer.TASKS[NAME]
    if job is None or job.callable_name != offer.name_of(task):
        return None
    info = getUtility(IAsyncService).getJobInfo(id)
    format = job.kwargs["format"]
    if info.ended is None:
        return Export(info, format)
    until = info.ended + task.keep
    if until < clock.now() or id not in _ids(info.user):
        return None
    made = job.stored_result
    if not isinstance(made, ExportFile):
        return Export(info, format, until=until)
    return Export(
        info,
        format,
        made.blob is not None,
        made.name,
        made.size,
        made.rows,
        until,
    )


def _is_gone(id: str) -> bool:
    """Whether there is no export of this id any more, be it the user's or not."""
    try:
        return _look(id) is None
    except Unauthorized:
        return False


def _user_id() -> str:
    user = jobrules.current().user_id
    if user is None:
        name = getSecurityManager().getUser().getUserName()
        raise Unauthorized(f"{name} has no exports: log in as a user of the site")
    return user


def _ids(user_id: str) -> tuple[str, ...]:
    return IAnnotations(identity.current_site()).get(ANNOTATION, {}).get(user_id, ())


def _remember(user_id: str, ids: tuple[str, ...]) -> None:
    annotations = IAnnotations(identity.current_site())
    if ANNOTATION not in annotations:
        annotations[ANNOTATION] = OOBTree()
    if ids:
        annotations[ANNOTATION][user_id] = ids
    else:
        annotations[ANNOTATION].pop(user_id, None)


def _require_blobs() -> None:
    database = getUtility(IAsyncService).getQueues()._p_jar.db()
    if not _stores_blobs(database.storage):
        raise NoBlobsError(
            f"The database {database.database_name!r}, which holds the queues, stores "
            "no files: give its storage in zope.conf and in the ZEO server a blob-dir"
        )


def _stores_blobs(storage: Any) -> bool:
    # ZEO's client says that it stores files as soon as its server does, and has no
    # place for them without a blob-dir of its own.
    has_place = getattr(storage, "fshelper", storage) is not None
    return has_place and IBlobStorage.providedBy(storage)
