"""Public interfaces of the service, the ticks and the browser layer."""

from __future__ import annotations

from collective.clockwork import _
from zope.interface import Attribute
from zope.interface import Interface
from zope.interface.interfaces import IObjectEvent
from zope.publisher.interfaces.browser import IDefaultBrowserLayer
from zope.schema import Int


class IClockworkLayer(IDefaultBrowserLayer):
    """On the requests of sites in which the add-on is installed."""


class IAsyncDatabase(Interface):
    """The ``ZODB.DB`` that holds the queues, registered as a utility.

    The instance and worker ZCML files register it. Where there is none, the
    queues are in the database of the site.
    """


class IInitAsync(Interface):
    """Prepares a process for jobs; the instance and worker ZCML files register one."""

    def init():
        """Say where the queues are, and in a worker that it is one.

        It is called once, when Zope has opened its databases. What it raises is
        logged, and Zope goes on without background jobs.
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
    mappings of these; content objects among them by path and UID, and the job's
    user must have the right to view them.

    ``queue`` is a queue or its name. ``quota_names`` is a sequence of names of
    quotas; ``None`` is ``("default",)``, ``()`` is no quota.

    What else can be asked for is said by ``using``; a function can ask for it itself
    with the decorator ``background``. What the call says goes before that.

    What cannot be done later is refused now, with a ``ValueError`` or
    ``TypeError`` that names the argument and the remedy; nothing is stored
    then.

    Jobs are found in their own site only. They are shown to the user who queued them
    and to those with the permission to manage jobs; nobody but the latter sees those of
    anonymous visitors. For others' jobs the methods raise ``Unauthorized``.
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
        """Describe a call for the methods below, without queueing it."""

    def wrapJob(job_info):
        """A job of what ``makeJob`` returned, for the current user; it is not queued.

        For those who put it themselves: ``getQueues()[name].put(job)``, or as a
        callback, or into the engine's ``serial`` and ``parallel``. Of a function that
        declares options it has all but the queue; otherwise it has no quota unless it
        is given one.
        """

    def queueSerialJobs(*job_infos):
        """Queue calls that are made one after the other.

        The result of the job that is returned is the sequence of its inner
        jobs. Inner jobs that fail don't stop the later ones, nor does the outer
        job fail: its ``failed_members`` are those that did.
        """

    def queueSerialJobsInQueue(queue, quota_names, *job_infos):
        """The same in this queue, the outer job under these quotas."""

    def queueParallelJobs(*job_infos):
        """Queue calls that may be made at the same time.

        For the result see ``queueSerialJobs``.
        """

    def queueParallelJobsInQueue(queue, quota_names, *job_infos):
        """The same in this queue, the outer job under these quotas."""

    def using(**options):
        """An IAsyncServiceUsing, which queues with these options.

        They are kept apart from the arguments of functions, so none is in the way of
        another. OptionError, a ValueError, for what is unknown, with the nearest name,
        out of range or contradicts another one.

        =====================  ====================================================
        ``queue``              a queue or its name; ``""``
        ``quota``              name of a quota, or a tuple of names; ``()`` for none
        ``begin_after``        an aware datetime; not before that
        ``begin_by``           a timedelta after that; fails if it was not begun
        ``retry``              a retry policy, a class of one, or an adapter's name
        ``title``              a text for people, instead of the function's name
        ``notify``             "done", "failed" or "both": then its user gets a mail
        ``failure_log_level``  a level of ``logging``; ``ERROR``
        ``priority``           -100 to 100, higher goes first; 0
        ``timeout``            a timedelta for each attempt
        ``groupable``          whether it may share a commit with others; False
        ``unique``             a key that one unfinished job of the site's has
        ``on_duplicate``       "refuse", "drop" or "replace" for a second one
        ``debounce``           a timedelta; begins that long after the last of its key
        ``keep_result``        a timedelta; how long it is kept after a success
        ``keep_failure``       a timedelta; how long it is kept after a failure
        =====================  ====================================================

        What they mean in detail stands in the engine's documentation. With "drop" the
        job that is there already is returned, whoever queued it.
        """

    def queueCall(job_info, asked):
        """Queue what ``makeJob`` described, with a mapping of options.

        They must have been checked, as ``using`` does; those that its function asks for
        hold besides.
        """

    def findJobs(status=None, user=None, limit=200, function=None, context=None):
        """JobInfos of jobs that the current user may see: what runs, then the newest.

        ``status`` is 'queued', 'active', 'completed', 'failed', 'cancelled' or
        'quarantined'. ``user`` is the id of the user who queued them; Unauthorized for
        another one's, if one may not manage jobs. ``function`` is a function or its
        dotted name, ``context`` an object or its path.

        The work is bounded: of a very long queue, or history, only the first
        part is looked at.
        """

    def countJobs():
        """Number of jobs that the current user may see, by status.

        The work is bounded: of a very long queue, or history, only the first
        part is counted.
        """

    def getJobInfo(id):
        """JobInfo of one job of the current site; None if it has no such job."""

    def getJob(id):
        """The job itself, as queueing it returned it; None if the site has none such.

        ``id`` is the job's ``id``, which it has from its commit on.
        """

    def cancelJob(id, reason=None):
        """Cancel a job in the name of the current user, for a reason that is shown.

        Returns "withdrawn" if it waited and is ended, "asked" if a worker has it and is
        asked to stop it, "late" if it has ended already. LookupError if the site has no
        such job, ``BadStatusError`` of the engine if it is in no queue, as a member of
        a batch that has not come to it.
        """

    def retryJob(id):
        """Let a job that failed, or was set aside, be run once more.

        It stays the same job, waits in front of others, and is run as the user who
        queued it. LookupError if the site has no such job, ``BadStatusError`` of the
        engine if it has neither failed nor was set aside, ``DuplicateJobError`` if
        another unfinished job has its unique key by now.
        """

    def workersAlive():
        """Number of worker processes that can run jobs now."""


class IAsyncServiceUsing(Interface):
    """Queues calls with the options that were given to ``using``.

    Its methods do what those of IAsyncService do that have the same name.
    """

    def using(**options):
        """The same with further options, which go before."""

    def queueJob(func, context, *args, **kwargs):
        """Queue a call."""

    def queueSerialJobs(*job_infos):
        """Queue calls that are made one after the other; the options are the batch's.

        Members have those of their functions, except for the queue.
        """

    def queueParallelJobs(*job_infos):
        """Queue calls that may be made at the same time; see ``queueSerialJobs``."""


class IJobOutcome(IObjectEvent):
    """A job that the service queued is finished.

    Handlers run in the worker, in a transaction of their own after that of the
    job, with the job's site and user restored as far as these still exist.
    Members of a batch are told of too, so a handler hears of those that failed;
    the batch itself is a success when all of them ended, and ``failed_members``
    says which failed. Subscribe to one of the two below.
    """

    job = Attribute("The job")
    failed_members = Attribute("Of a batch: those of its jobs that failed; else empty")


class IJobSuccess(IJobOutcome):
    """The job's function returned; ``object`` is what it returned."""


class IJobFailure(IJobOutcome):
    """The job failed; ``object`` is the Failure."""


class IQueueReady(IObjectEvent):
    """A worker began to serve a queue, which is the ``object``."""


# --- Ticks (ticks.py). Names and attributes as in collective.timedevents. ---


class ITickSettings(Interface):
    """What a site's registry holds for ticks; the prefix is `collective.clockwork`."""

    tick_interval = Int(
        title=_("Interval of ticks"),
        description=_(
            "Seconds from one tick to the next. Calls of @@tick that come earlier send "
            "no event. With 0 each call sends one."
        ),
        # What collective.timedevents promised; it had 10.
        default=300,
        min=0,
        # A year: more is a slip, and DateTime cannot count without end.
        max=366 * 24 * 60 * 60,
    )


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
