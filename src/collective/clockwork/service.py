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
from collective.clockwork import jobrules
from collective.clockwork import options
from collective.clockwork.engine import compose
from collective.clockwork.engine import options as engine_options
from collective.clockwork.engine.errors import DuplicateJobError
from collective.clockwork.engine.interfaces import BadStatusError
from collective.clockwork.engine.interfaces import IQueue
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.interfaces import QUARANTINED
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.queue import Queues
from collective.clockwork.interfaces import IAsyncDatabase
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.interfaces import IAsyncServiceUsing
from collective.clockwork.jobinfo import JobInfo
from collective.clockwork.sitejob import BatchJob
from collective.clockwork.sitejob import ServiceJob
from collective.clockwork.sitejob import SiteJob
from datetime import datetime
from datetime import timedelta
from typing import Any
from typing import NamedTuple
from typing import TYPE_CHECKING
from ZODB.POSException import POSKeyError
from ZODB.utils import p64
from zope.component import queryUtility
from zope.interface import implementer


if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Name of the quota under which jobs are queued unless another is asked for.
DEFAULT_QUOTA = "default"


class JobDescription(NamedTuple):
    """A call that is to become a job; what ``makeJob`` returns."""

    func: Callable
    context: Any
    args: tuple
    kwargs: dict[str, Any]


def queues_connection(site: Any) -> Any:
    """To the queues' database, in the transaction of this site."""
    root = site.getPhysicalRoot()
    database = queryUtility(IAsyncDatabase)
    if database is None:
        return root._p_jar
    return root._p_jar.get_connection(database.database_name)


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
        return self.queueCall(makeJob(func, context, *args, **kwargs), {})

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
        return self.queueCall(info, {"queue": queue, "quota": quota_names})

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
        delay = {"begin_by": begin_by, "begin_after": begin_after}
        return self.queueCall(info, delay)

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
        delay = {"begin_by": begin_by, "begin_after": begin_after}
        place = {"queue": queue, "quota": quota_names}
        return self.queueCall(info, {**delay, **place})

    def makeJob(
        self, func: Callable, context: Any, *args: Any, **kwargs: Any
    ) -> JobDescription:
        """See IAsyncService."""
        return makeJob(func, context, *args, **kwargs)

    def wrapJob(self, job_info: JobDescription) -> ServiceJob:
        """See IAsyncService."""
        info = _checked(job_info)
        own = options.of_call(*info, ())
        job = self._single(info)
        if own:
            # The queue that it is put into checks them.
            job.quota_names = own.get("quota") or ()
            _apply(job, own)
        return job

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
        place = {"queue": queue, "quota": quota_names}
        return self._queue_batch(compose.run_serial, job_infos, place)

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
        place = {"queue": queue, "quota": quota_names}
        return self._queue_batch(compose.run_parallel, job_infos, place)

    def using(self, **asked: Unpack[options.Asked]) -> ServiceUsing:
        """See IAsyncService."""
        return ServiceUsing(self, options.check(asked))

    def findJobs(
        self,
        status: str | None = None,
        user: str | None = None,
        limit: int = 200,
        function: Callable | str | None = None,
        context: Any = None,
    ) -> list[JobInfo]:
        """See IAsyncService. ValueError for another status."""
        if status is not None and status not in jobinfo.STATUSES:
            raise ValueError(
                f"status is {status!r}: pass one of {', '.join(jobinfo.STATUSES)}, "
                "or None for all"
            )
        viewer = jobrules.current()
        if user is not None:
            viewer.require_jobs_of(user)
        is_called_for = jobinfo.matcher(user, function, context)
        found = jobinfo.find(
            self._queues_as_they_are(),
            lambda job: viewer.sees(job) and is_called_for(job),
            jobinfo.STATUSES if status is None else (status,),
            limit,
        )
        found.sort(key=jobinfo.running_first)
        return [jobinfo.describe(job) for job in found[:limit]]

    def countJobs(self) -> dict[str, int]:
        """See IAsyncService."""
        counts = dict.fromkeys(jobinfo.STATUSES, 0)
        sees = jobrules.current().sees
        for job in jobinfo.find(self._queues_as_they_are(), sees, jobinfo.STATUSES):
            counts[jobinfo.status_of(job)] += 1
        return counts

    def getJobInfo(self, id: str) -> JobInfo | None:
        """See IAsyncService."""
        job = self.getJob(id)
        return None if job is None else jobinfo.describe(job)

    def getJob(self, id: str) -> SiteJob | None:
        """See IAsyncService."""
        job = self._job(id)
        if job is not None:
            jobrules.current().require(job, "see")
        return job

    def cancelJob(self, id: str, reason: str | None = None) -> str:
        """See IAsyncService."""
        job = self._existing(id)
        viewer = jobrules.current()
        viewer.require(job, "cancel")
        if job.queue is None and jobinfo.status_of(job) == "queued":
            raise BadStatusError(
                f"The job {job.id} is in no queue, so there is nothing to cancel: its "
                "batch has not come to it, or it was taken out. A member of a batch is "
                "cancelled with the batch"
            )
        return job.cancel(by=viewer.user_id, reason=reason)

    def retryJob(self, id: str) -> None:
        """See IAsyncService."""
        job = self._existing(id)
        jobrules.current().require(job, "retry")
        try:
            if job.status == QUARANTINED:
                job.queue.quarantine.release(job)
            else:
                job.retry()
        except DuplicateJobError as error:
            raise _without_arguments(error) from None

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
        return queues_connection(identity.current_site())

    def _job(self, id: str) -> SiteJob | None:
        """The job of the current site with this id, whoever asks."""
        # Python does not read numbers of thousands of digits.
        if not str(id).isdecimal() or len(str(id)) > 19 or int(id) >= 2**63:
            return None
        try:
            job = self._connection().get(p64(int(id)))
        except POSKeyError:
            return None
        if not (isinstance(job, SiteJob) and jobinfo.is_loadable(job)):
            # Of one that cannot be read nobody can tell whose it is.
            return None
        return job if jobrules.current().knows(job) else None

    def _existing(self, id: str) -> SiteJob:
        job = self._job(id)
        if job is None:
            raise LookupError(
                f"There is no job {id!r} in this site: it was never committed, or it "
                "ended so long ago that it is not kept any more"
            )
        return job

    def queueCall(
        self, job_info: JobDescription, asked: Mapping[str, Any]
    ) -> ServiceJob:
        """See IAsyncService."""
        info = _checked(job_info)
        own = options.of_call(*info, asked)
        job = self._single(info)
        return self._put(job, options.together(own, asked) if own else asked)

    def _queue_batch(
        self,
        runner: Callable,
        job_infos: tuple[JobDescription, ...],
        asked: Mapping[str, Any],
    ) -> BatchJob:
        """Queue a batch; the options are those of the outer job."""
        queue = self._queue(asked.get("queue", ""))
        return self._put(self._batch(runner, job_infos, queue), asked)

    def _single(self, info: JobDescription, other: SiteJob | None = None) -> ServiceJob:
        """A checked job of this description, stored nowhere yet.

        With another job of this very moment the user's folder isn't asked once more.
        """
        arguments.check_function(info.func)
        site = identity.current_site()
        arguments.check_context(info.context, site)
        after = arguments.AFTER_CONTEXT
        args, kwargs = arguments.stored(info.args, info.kwargs, site, after)
        job = ServiceJob(info.func, *args, **kwargs)
        if other is None:
            job.belong_to(site)
        else:
            job.belong_where(other)
        job.context_path = info.context.getPhysicalPath()
        job.context_uid = identity.uid_of(info.context)
        return job

    def _batch(
        self, runner: Callable, job_infos: tuple[JobDescription, ...], queue: Queue
    ) -> BatchJob:
        """A checked outer job of these descriptions, stored nowhere yet."""
        inner: list[ServiceJob] = []
        for info in job_infos:
            first = inner[0] if inner else None
            inner.append(self._member(_checked(info), queue, first))
        if not inner:
            raise ValueError(
                "A batch needs at least one job: pass what makeJob() returns"
            )
        batch = BatchJob(runner, *inner, postprocess=Job(compose.all_jobs))
        batch.belong_where(inner[0])
        return batch

    def _member(
        self, info: JobDescription, queue: Queue, first: ServiceJob | None
    ) -> ServiceJob:
        """A checked member of a batch in this queue; the first one has no ``first``."""
        own = options.for_member(info.func, options.of_call(*info, ()))
        job = self._single(info, first)
        if own:
            _configure(job, queue, {"quota": (), **own})
        return job

    def _put(self, job: SiteJob, asked: Mapping[str, Any]) -> Any:
        """Queue a job after the remaining checks."""
        arguments.check_times(asked.get("begin_by"), asked.get("begin_after"))
        queue = self._queue(asked.get("queue", ""))
        _configure(job, queue, asked)
        try:
            return queue.put(job)
        except DuplicateJobError as error:
            raise _without_arguments(error) from None

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


@implementer(IAsyncServiceUsing)
class ServiceUsing:
    """What ``using`` of the service returns; see IAsyncServiceUsing."""

    def __init__(self, service: AsyncService, asked: Mapping[str, Any]) -> None:
        self._service = service
        self._asked = asked

    def using(self, **asked: Unpack[options.Asked]) -> ServiceUsing:
        """See IAsyncServiceUsing."""
        return ServiceUsing(self._service, options.check({**self._asked, **asked}))

    def queueJob(
        self, func: Callable, context: Any, /, *args: Any, **kwargs: Any
    ) -> ServiceJob:
        """See IAsyncServiceUsing."""
        info = JobDescription(func, context, args, kwargs)
        return self._service.queueCall(info, self._asked)

    def queueSerialJobs(self, *job_infos: JobDescription) -> BatchJob:
        """See IAsyncServiceUsing."""
        return self._service._queue_batch(compose.run_serial, job_infos, self._asked)

    def queueParallelJobs(self, *job_infos: JobDescription) -> BatchJob:
        """See IAsyncServiceUsing."""
        return self._service._queue_batch(compose.run_parallel, job_infos, self._asked)


def _without_arguments(error: DuplicateJobError) -> DuplicateJobError:
    """The same with a message that may be shown to users who may not see that job."""
    other = error.job
    if not jobinfo.is_loadable(other):
        return error
    text = (
        f"The job {other.id}, {other.callable_name}, has the same unique key and is "
        f"{jobinfo.status_of(other)}: on_duplicate='drop' gives it back, 'replace' "
        "takes the place of one that is queued"
    )
    return DuplicateJobError(error.key, text, other)


def _configure(job: SiteJob, queue: Queue, asked: Mapping[str, Any]) -> None:
    """Give a new job its options; raises for what this queue does not have."""
    job.quota_names = _quota_names(queue, asked.get("quota"))
    _apply(job, asked)


def _apply(job: SiteJob, asked: Mapping[str, Any]) -> None:
    """Give a new job all options but its queue and its quotas."""
    wanted = options.for_engine(asked)
    if wanted.get("unique") is not None:
        # Sites share the queues, and must not learn of each other's jobs. A copy of a
        # site may have its UID. No path has "//" in it, but it may have a space.
        scope = f"{job.site_uid or ''}{'/'.join(job.site_path)}//"
        wanted["unique"] = f"{scope} {wanted['unique']}"
    engine_options.apply(job, wanted)
    for name, attribute in (
        ("begin_after", "begin_after"),
        ("begin_by", "begin_by"),
        ("failure_log_level", "failure_log_level"),
        ("retry", "retry_policy_factory"),
        ("title", "title"),
        ("notify", "notify"),
    ):
        if asked.get(name) is not None:
            setattr(job, attribute, asked[name])


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
