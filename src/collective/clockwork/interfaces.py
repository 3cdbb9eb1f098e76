"""Public interfaces of the service, the ticks and the browser layer."""

from __future__ import annotations

from zope.interface import Attribute
from zope.interface import Interface
from zope.interface.interfaces import IObjectEvent
from zope.publisher.interfaces.browser import IDefaultBrowserLayer


class IClockworkLayer(IDefaultBrowserLayer):
    """On the requests of sites in which the add-on is installed."""


class IAsyncDatabase(Interface):
    """The ``ZODB.DB`` that holds the queues, registered as a utility.

    The instance and worker ZCML files register it. Where there is none, the
    queues are in the database of the site.
    """


class IAsyncService(Interface):
    """Queues calls, to be made later, elsewhere, by the user who asks for them.

    Every method that queues works in the caller's transaction: the job exists
    if and only if that transaction commits. All of them return the job, and
    none of them commits.

    ``func`` is a function that can be imported by name; it is called as
    ``func(context, *args, **kwargs)``, with the current user and site restored
    and the context looked up again. ``context`` is an object of a site. The
    other arguments are stored by value: numbers, strings, dates, and lists and
    mappings of these.

    ``queue`` is a queue or its name. ``quota_names`` is a sequence of names of
    quotas; ``None`` is ``("default",)``, ``()`` is no quota.

    What cannot be done later is refused now, with a ``ValueError`` or
    ``TypeError`` that names the argument and the remedy; nothing is stored
    then.
    """

    def getQueues():
        """The mapping of name to queue, in the caller's transaction.

        It is made, with the queue ``""`` and its quota ``default``, if it isn't
        there.
        """

    def queueJob(func, context, *args, **kwargs):
        """Queue a call in the default queue, under the default quota."""

    def queueJobInQueue(queue, quota_names, func, context, *args, **kwargs):
        """Queue a call in this queue, under these quotas."""

    def queueJobWithDelay(begin_by, begin_after, func, context, *args, **kwargs):
        """Queue a call that is not made before ``begin_after``.

        ``begin_after`` is an aware datetime, or None for now. ``begin_by`` is a
        timedelta after that, past which the job fails with a ``TimeoutError``
        of the engine instead of being run; None for never.
        """

    def queueJobInQueueWithDelay(
        begin_by, begin_after, queue, quota_names, func, context, *args, **kwargs
    ):
        """Both of the above."""

    def makeJob(func, context, *args, **kwargs):
        """Describe a call for the four methods below, without queueing it."""

    def queueSerialJobs(*job_infos):
        """Queue calls that are made one after the other.

        The result of the job that is returned is the sequence of its inner
        jobs. Inner jobs that fail don't stop the later ones, nor does the outer
        job fail: look at their results.
        """

    def queueSerialJobsInQueue(queue, quota_names, *job_infos):
        """The same in this queue, the outer job under these quotas."""

    def queueParallelJobs(*job_infos):
        """Queue calls that may be made at the same time.

        For the result see ``queueSerialJobs``.
        """

    def queueParallelJobsInQueue(queue, quota_names, *job_infos):
        """The same in this queue, the outer job under these quotas."""

    def findJobs(status=None, user=None, limit=200):
        """JobInfos of the current site: what runs first, then the newest.

        ``status`` is 'queued', 'active', 'completed', 'failed', 'cancelled' or
        'quarantined'. ``user`` is the id of the user who queued them.
        """

    def countJobs():
        """Number of jobs of the current site by status.

        The work is bounded: of a very long queue, or history, only the first
        part is counted.
        """

    def getJobInfo(id):
        """JobInfo of one job of the current site; None if it has no such job."""

    def workersAlive():
        """Number of worker processes that can run jobs now."""


class IJobOutcome(IObjectEvent):
    """A job that the service queued is finished.

    Handlers run in the worker, in a transaction of their own after that of the
    job, with the job's site and user restored as far as these still exist.
    Members of a batch are told of too, so a handler hears of those that failed;
    the batch itself is a success when all of them ended. Subscribe to one of the
    two below.
    """

    job = Attribute("The job")


class IJobSuccess(IJobOutcome):
    """The job's function returned; ``object`` is what it returned."""


class IJobFailure(IJobOutcome):
    """The job failed; ``object`` is the Failure."""


class IQueueReady(IObjectEvent):
    """A worker began to serve a queue, which is the ``object``."""


# --- Ticks (ticks.py). Names and attributes as in collective.timedevents. ---


class ITickEvent(Interface):
    """`@@tick` was called and an interval has passed since the last such event.

    It carries no context: a subscriber finds the site by `getSite()`, which is None
    for a tick on the Zope root.
    """

    date_time = Attribute("DateTime of this tick.")
    last_tick = Attribute("The same moment as `date_time`.")
    next_tick = Attribute("DateTime when the next tick is due, an estimate.")


class IIntervalTicksGenericEvent(Interface):
    """One of the views `@@tick_...` was called. Subscribe to it to get all five."""

    context = Attribute("The object, acquisition-wrapped, on which it was called.")


class IIntervalTicks15Event(IIntervalTicksGenericEvent):
    """`@@tick_fifteen` was called."""


class IIntervalTicksHourlyEvent(IIntervalTicksGenericEvent):
    """`@@tick_hourly` was called."""


class IIntervalTicksDailyEvent(IIntervalTicksGenericEvent):
    """`@@tick_daily` was called."""


class IIntervalTicksWeeklyEvent(IIntervalTicksGenericEvent):
    """`@@tick_weekly` was called."""


class IIntervalTicksMonthlyEvent(IIntervalTicksGenericEvent):
    """`@@tick_monthly` was called."""


class IIntervalTicks(Interface):
    """View that sends a named tick at each call.

    Each method answers `done: ` and the local time as YYYYmmdd-HH:MM.
    """

    def fifteenMinutes() -> str:
        """Send an `IIntervalTicks15Event`."""

    def hourly() -> str:
        """Send an `IIntervalTicksHourlyEvent`."""

    def daily() -> str:
        """Send an `IIntervalTicksDailyEvent`."""

    def weekly() -> str:
        """Send an `IIntervalTicksWeeklyEvent`."""

    def monthly() -> str:
        """Send an `IIntervalTicksMonthlyEvent`."""


# --- End of ticks ---
