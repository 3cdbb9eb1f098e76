"""The service: queue a call in Plone and have it made later, as the same user.

Jobs are stored in the caller's transaction, with the identity of the user, the
site and the context (``identity``), after all checks (``arguments``). What can
be asked about jobs afterwards is answered for the current site alone.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collective.clockwork import arguments
from collective.clockwork import identity
from collective.clockwork import jobinfo
from collective.clockwork.engine import compose
from collective.clockwork.engine import local
from collective.clockwork.engine.interfaces import IAbstractJob
from collective.clockwork.engine.interfaces import IQueue
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import isFailure
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.queue import Queues
from collective.clockwork.events import has_subscribers
from collective.clockwork.events import JobFailure
from collective.clockwork.events import JobSuccess
from collective.clockwork.interfaces import IAsyncDatabase
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.jobinfo import JobInfo
from datetime import datetime
from datetime import timedelta
from Products.CMFCore.indexing import processQueue
from typing import Any
from typing import NamedTuple
from zExceptions import BadRequest
from ZODB.POSException import POSKeyError
from ZODB.utils import p64
from ZODB.utils import u64
from zope.component import queryUtility
from zope.component.hooks import getSite
from zope.event import notify
from zope.interface import implementer


#: Name of the quota under which jobs are queued unless another is asked for.
DEFAULT_QUOTA = "default"


class SiteJob(Job):
    """A job that belongs to a site and to a user.

    All that it adds is written once, before it is queued.
    """

    #: Where the site was, and its UID if it has one.
    site_path: tuple[str, ...] = ()
    site_uid: str | None = None
    #: Where the user's folder was, and her id; empty and None for anonymous.
    userfolder_path: tuple[str, ...] = ()
    user_id: str | None = None
    #: Where the context was, and its UID if it has one; empty for a batch.
    context_path: tuple[str, ...] = ()
    context_uid: str | None = None

    def belong_to(self, site: Any) -> None:
        """Remember the site and the current user."""
        self.site_path = site.getPhysicalPath()
        self.site_uid = identity.uid_of(site)
        self.userfolder_path, self.user_id = identity.current_user(site)

    def on_result(self, result: Any) -> None:
        """Have the event sent after the commit, if anybody listens.

        It costs a commit of its own, so nothing is stored for no one.
        """
        event = outcome(result, self)
        app = identity.application(self._p_jar)
        with identity.in_site(app, self.site_path, self.site_uid):
            wanted = has_subscribers(event)
        if wanted:
            self.addCallback(tell_outcome)

    @property
    def id(self) -> str | None:
        """What ``getJobInfo`` finds it by; None before its queue is committed."""
        return None if self._p_oid is None else str(u64(self._p_oid))

    def addCallback(self, callback: Any, *options: Any, **named: Any) -> Any:
        """See the engine's Job. A function is called as this job's user, in its site.

        In plone.app.async it was called without both.
        """
        return super().addCallback(self._own(callback), *options, **named)

    def addCallbacks(
        self, success: Any = None, failure: Any = None, *options: Any, **named: Any
    ) -> Any:
        """See the engine's Job, and ``addCallback``."""
        return super().addCallbacks(
            self._own(success), self._own(failure), *options, **named
        )

    def _own(self, callback: Any) -> Any:
        if callback is None or IAbstractJob.providedBy(callback):
            return callback
        return CallbackJob.of(self, callback)

    def enter(self, app: Any) -> None:
        """Make the job's site and user the current ones; BadRequest if one is gone."""
        site = identity.find_site(app, self.site_path, self.site_uid)
        identity.enter_site(app, site)
        folder_path = identity.rebased(
            self.userfolder_path, self.site_path, site.getPhysicalPath()
        )
        identity.enter_user(app, identity.find_user(app, folder_path, self.user_id))


class ServiceJob(SiteJob):
    """A call on a context, made in the site and with the rights of its user."""

    def setUp(self) -> identity.Surroundings:
        """Enter the world of the job's user.

        Raises BadRequest if her site, her folder or she herself is gone, and
        leaves nothing behind then.
        """
        before, app = identity.leave_thread(identity.application(self._p_jar))
        try:
            self.enter(app)
        except BaseException:
            identity.restore_thread(before)
            raise
        return before

    def tearDown(self, setup_info: identity.Surroundings | None) -> None:
        """Leave that world again; nothing of it stays in the thread."""
        if setup_info is not None:
            identity.restore_thread(setup_info)

    def invoke(self, args: tuple, kwargs: dict) -> Any:
        """Call the function with the context, looked up anew, in front."""
        site = getSite()
        path = identity.rebased(
            self.context_path, self.site_path, site.getPhysicalPath()
        )
        context = identity.find_context(site, path, self.context_uid)
        return super().invoke((context, *args), kwargs)

    def complete_work(self) -> None:
        """Index what the call changed as its user, before others share the commit."""
        processQueue()


class BatchJob(SiteJob):
    """The outer job of a batch: it only queues its inner jobs, and waits for them."""


class CallbackJob(ServiceJob):
    """Callback of a job, run in that one's site and as its user, as far as they exist.

    A job fails because its site or its user is gone, too, and its callbacks
    are called all the same: then without site, or as anonymous.
    """

    @classmethod
    def of(cls, job: SiteJob, function: Callable) -> CallbackJob:
        """A callback that calls ``function``, to be added to ``job``."""
        callback = cls(function)
        callback.site_path, callback.site_uid = job.site_path, job.site_uid
        callback.userfolder_path = job.userfolder_path
        callback.user_id = job.user_id
        return callback

    def enter(self, app: Any) -> None:
        """Make the site and user current as far as they still exist."""
        try:
            super().enter(app)
        except BadRequest:
            return

    def invoke(self, args: tuple, kwargs: dict) -> Any:
        """Call the function with the result; it has no context."""
        return Job.invoke(self, args, kwargs)

    def on_result(self, result: Any) -> None:
        """Nobody is told of callbacks."""


def outcome(result: Any, job: SiteJob) -> JobSuccess | JobFailure:
    """The event that tells of a job's result."""
    kind = JobFailure if isFailure(result) else JobSuccess
    return kind(result, job)


def tell_outcome(result: Any) -> None:
    """Callback: send the event about the job that this is a callback of."""
    notify(outcome(result, local.getJob().parent))


class JobDescription(NamedTuple):
    """A call that is to become a job; what ``makeJob`` returns."""

    func: Callable
    context: Any
    args: tuple
    kwargs: dict[str, Any]


def makeJob(func: Callable, context: Any, *args: Any, **kwargs: Any) -> JobDescription:
    """Describe a call for the methods that queue batches. As in plone.app.async."""
    return JobDescription(func, context, args, kwargs)


@implementer(IAsyncService)
class AsyncService:
    """See IAsyncService."""

    def getQueues(self) -> Queues:
        """See IAsyncService. LookupError without a current site."""
        connection = self._connection()
        root = connection.root()
        if KEY not in root:
            root[KEY] = Queues()
            connection.add(root[KEY])
        queues = root[KEY]
        if "" not in queues:
            queues[""] = Queue()
        ensure_default_quota(queues[""])
        return queues

    def queueJob(
        self, func: Callable, context: Any, *args: Any, **kwargs: Any
    ) -> ServiceJob:
        """See IAsyncService."""
        info = makeJob(func, context, *args, **kwargs)
        return self._put(self._single(info), "", None)

    def queueJobInQueue(
        self,
        queue: Queue | str,
        quota_names: Iterable[str] | None,
        func: Callable,
        context: Any,
        *args: Any,
        **kwargs: Any,
    ) -> ServiceJob:
        """See IAsyncService."""
        info = makeJob(func, context, *args, **kwargs)
        return self._put(self._single(info), queue, quota_names)

    def queueJobWithDelay(
        self,
        begin_by: timedelta | None,
        begin_after: datetime | None,
        func: Callable,
        context: Any,
        *args: Any,
        **kwargs: Any,
    ) -> ServiceJob:
        """See IAsyncService."""
        info = makeJob(func, context, *args, **kwargs)
        return self._put(self._single(info), "", None, begin_by, begin_after)

    def queueJobInQueueWithDelay(
        self,
        begin_by: timedelta | None,
        begin_after: datetime | None,
        queue: Queue | str,
        quota_names: Iterable[str] | None,
        func: Callable,
        context: Any,
        *args: Any,
        **kwargs: Any,
    ) -> ServiceJob:
        """See IAsyncService."""
        info = makeJob(func, context, *args, **kwargs)
        return self._put(self._single(info), queue, quota_names, begin_by, begin_after)

    def makeJob(
        self, func: Callable, context: Any, *args: Any, **kwargs: Any
    ) -> JobDescription:
        """See IAsyncService."""
        return makeJob(func, context, *args, **kwargs)

    def queueSerialJobs(self, *job_infos: JobDescription) -> BatchJob:
        """See IAsyncService."""
        return self.queueSerialJobsInQueue("", None, *job_infos)

    def queueSerialJobsInQueue(
        self,
        queue: Queue | str,
        quota_names: Iterable[str] | None,
        *job_infos: JobDescription,
    ) -> BatchJob:
        """See IAsyncService."""
        return self._put(self._batch(compose.run_serial, job_infos), queue, quota_names)

    def queueParallelJobs(self, *job_infos: JobDescription) -> BatchJob:
        """See IAsyncService."""
        return self.queueParallelJobsInQueue("", None, *job_infos)

    def queueParallelJobsInQueue(
        self,
        queue: Queue | str,
        quota_names: Iterable[str] | None,
        *job_infos: JobDescription,
    ) -> BatchJob:
        """See IAsyncService."""
        return self._put(
            self._batch(compose.run_parallel, job_infos), queue, quota_names
        )

    def findJobs(
        self, status: str | None = None, user: str | None = None, limit: int = 200
    ) -> list[JobInfo]:
        """See IAsyncService. ValueError for another status."""
        if status is not None and status not in jobinfo.STATUSES:
            raise ValueError(
                f"status is {status!r}: pass one of {', '.join(jobinfo.STATUSES)}, "
                "or None for all"
            )
        is_ours = self._belongs_to_current_site()
        found = jobinfo.find(
            self._queues_as_they_are(),
            lambda job: is_ours(job) and (user is None or job.user_id == user),
            jobinfo.STATUSES if status is None else (status,),
            limit,
        )
        found.sort(key=jobinfo.running_first)
        return [jobinfo.describe(job) for job in found[:limit]]

    def countJobs(self) -> dict[str, int]:
        """See IAsyncService."""
        counts = dict.fromkeys(jobinfo.STATUSES, 0)
        is_ours = self._belongs_to_current_site()
        for job in jobinfo.find(self._queues_as_they_are(), is_ours, jobinfo.STATUSES):
            counts[jobinfo.status_of(job)] += 1
        return counts

    def getJobInfo(self, id: str) -> JobInfo | None:
        """See IAsyncService."""
        if not str(id).isdecimal() or int(id) >= 2**63:
            return None
        try:
            job = self._connection().get(p64(int(id)))
        except POSKeyError:
            return None
        is_ours = self._belongs_to_current_site()
        return jobinfo.describe(job) if is_ours(job) else None

    def workersAlive(self) -> int:
        """See IAsyncService."""
        return len(
            {
                uuid
                for queue in self._queues_as_they_are().values()
                for uuid, agents in queue.dispatchers.items()
                if jobinfo.is_alive(agents)
            }
        )

    def _queues_as_they_are(self) -> Mapping[str, Queue]:
        """The queues for one who only looks: makes nothing."""
        return self._connection().root().get(KEY, {})

    def _connection(self) -> Any:
        """To the queues' database, in the transaction of the current site."""
        root = identity.current_site().getPhysicalRoot()
        database = queryUtility(IAsyncDatabase)
        if database is None:
            return root._p_jar
        return root._p_jar.get_connection(database.database_name)

    def _belongs_to_current_site(self) -> Callable[[Any], bool]:
        """The one test of what may be seen: a function of a job."""
        site = identity.current_site()
        path, uid = site.getPhysicalPath(), identity.uid_of(site)

        def belongs(job: Any) -> bool:
            if not isinstance(job, SiteJob) or isinstance(job, CallbackJob):
                return False
            if uid is not None and job.site_uid is not None:
                return job.site_uid == uid
            return job.site_path == path

        return belongs

    def _single(self, info: JobDescription) -> ServiceJob:
        """A checked job of this description, stored nowhere yet."""
        arguments.check_function(info.func)
        arguments.check_context(info.context)
        arguments.check_arguments(info.args, info.kwargs)
        job = ServiceJob(info.func, *info.args, **info.kwargs)
        job.belong_to(identity.current_site())
        job.context_path = info.context.getPhysicalPath()
        job.context_uid = identity.uid_of(info.context)
        return job

    def _batch(
        self, runner: Callable, job_infos: tuple[JobDescription, ...]
    ) -> BatchJob:
        """A checked outer job of these descriptions, stored nowhere yet."""
        inner = [self._single(_checked(info)) for info in job_infos]
        if not inner:
            raise ValueError(
                "A batch needs at least one job: pass what makeJob() returns"
            )
        batch = BatchJob(runner, *inner, postprocess=Job(compose.all_jobs))
        batch.belong_to(identity.current_site())
        return batch

    def _put(
        self,
        job: SiteJob,
        queue: Queue | str,
        quota_names: Iterable[str] | None,
        begin_by: timedelta | None = None,
        begin_after: datetime | None = None,
    ) -> Any:
        """Queue a job after the remaining checks."""
        arguments.check_times(begin_by, begin_after)
        queue = self._queue(queue)
        job.quota_names = _quota_names(queue, quota_names)
        return queue.put(job, begin_after=begin_after, begin_by=begin_by)

    def _queue(self, queue: Queue | str) -> Queue:
        queues = self.getQueues()
        if IQueue.providedBy(queue):
            return queue
        if queue in queues:
            return queues[queue]
        known = ", ".join(map(repr, queues))
        raise ValueError(
            f"queue is {queue!r}, and there is no queue of that name: pass one of "
            f"{known}, or add it to getQueues() first"
        )


def ensure_default_quota(queue: Queue) -> None:
    """Add the quota ``default`` if it isn't there; a size that was set is kept."""
    if DEFAULT_QUOTA not in queue.quotas:
        queue.quotas.create(DEFAULT_QUOTA, size=1)


def _quota_names(queue: Queue, names: Iterable[str] | None) -> tuple[str, ...]:
    if names is None:
        ensure_default_quota(queue)
        return (DEFAULT_QUOTA,)
    if isinstance(names, str):
        raise TypeError(f"quota_names is {names!r}: pass a tuple, ({names!r},)")
    names = tuple(names)
    for name in names:
        if name not in queue.quotas:
            known = ", ".join(map(repr, queue.quotas)) or "none"
            raise ValueError(
                f"quota_names has {name!r}, and the queue {queue.name!r} has no such "
                f"quota: pass names out of {known}, or make it first with "
                f"queue.quotas.create({name!r}, size=1)"
            )
    return names


def _checked(info: Any) -> JobDescription:
    try:
        func, context, args, kwargs = info
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{info!r} describes no job: pass what makeJob() returns"
        ) from error
    return JobDescription(func, context, args, kwargs)
