"""The engine's contracts: what each object promises, and in which order it is called.

Implementations only say "see the interface". The words used here (job, queue,
quota, agent, dispatcher, claim) mean the same in every module of the engine.

A job goes through these statuses; ``docs/engine.rst`` draws them:

=========  ==================================================================
NEW        made, in no queue
PENDING    in a queue: waiting for its time, its quota or a free worker
ASSIGNED   claimed by an agent, not begun as far as the database can tell
ACTIVE     being run, or waiting for an inner job that it returned
CALLBACKS  its own result is committed, its callbacks are being run
COMPLETED  finished; this never changes again
=========  ==================================================================

And beside these QUARANTINED: set aside, because its process died too often; it waits
for somebody to decide, in ``queue.quarantine``.
"""

from __future__ import annotations

from zope.i18nmessageid import MessageFactory
from zope.interface import Attribute
from zope.interface import implementer
from zope.interface import Interface
from zope.interface.interfaces import IObjectEvent
from zope.interface.interfaces import ObjectEvent


_ = MessageFactory("collective.clockwork")

#: Key of the queues mapping in a database's root.
KEY = "collective.clockwork.engine"

NEW = _("new-status", default="New")
PENDING = _("pending-status", default="Pending")
ASSIGNED = _("assigned-status", default="Assigned")
ACTIVE = _("active-status", default="Active")
CALLBACKS = _("callback-status", default="Performing Callbacks")
COMPLETED = _("completed-status", default="Completed")
QUARANTINED = _("quarantined-status", default="Quarantined")


class AbortedError(Exception):
    """The job was interrupted, and its retry policy allows no further attempt."""


class TimeoutError(Exception):
    """The job's ``begin_by`` passed before anybody could begin it."""


class BadStatusError(Exception):
    """The call is not allowed in the job's present status."""


class ReassignedError(Exception):
    """The job was taken from this worker, so what it did is thrown away."""


class UnresolvableError(Exception):
    """The job's function, or the class of an argument, cannot be imported here.

    The job stays in its queue and is tried again, so deploying the missing
    code is all that is needed.
    """


class IUUID(Interface):
    """Marks the ``uuid.UUID`` that names a worker process over its restarts."""


class IReactor(Interface):
    """What a dispatcher needs of a reactor, if it gets one; Twisted's have it.

    A reactor need not declare that it provides this.
    """

    def callFromThread(callable, *args, **kwargs):
        """Call it in the reactor's thread."""

    def callWhenRunning(callable, *args, **kwargs):
        """Call it once the reactor runs."""

    def addSystemEventTrigger(phase, event, callable, *args, **kwargs):
        """Call it ``before`` the ``shutdown``, which waits if it gives a Deferred."""


class IRetryPolicy(Interface):
    """Decides what becomes of an attempt that went wrong; the engine then acts.

    Each method returns one of

    * false: no further attempt, the job fails;
    * true: again, at once;
    * a ``timedelta`` or an aware ``datetime``: again at that time.

    ``data_cache`` is a dict that lives as long as one run of the job; it
    survives aborted transactions, which the policy's own attributes do not.
    """

    def jobError(failure, data_cache):
        """The callable raised; its changes are rolled back already."""

    def commitError(failure, data_cache):
        """The callable returned, but the commit of its work failed."""

    def interrupted():
        """The job's process ended, or lost the job, before it was finished."""

    def updateData(data_cache):
        """Keep what should outlive this run; called before each commit of one."""


class IForgivingPolicy(IRetryPolicy):
    """A policy that tells a job's own interruptions from those by its neighbours."""

    quarantine = Attribute("Whether a job that it refused to go on with is set aside.")

    def disturbed():
        """The process ended, or lost the job, and another job may have caused it.

        Returns what ``interrupted`` does. Policies without it are asked that.
        """


class IAbstractJob(Interface):
    """What jobs and callback proxies have in common."""

    parent = Attribute("The queue, agent, proxy or job that this is part of.")
    status = Attribute("One of the statuses above.")
    result = Attribute("What the callable returned, or a Failure; None before.")
    callbacks = Attribute("Sequence of the callbacks, in the order of adding.")

    def addCallbacks(success=None, failure=None):
        """Run ``success`` or ``failure`` with the result; returns a proxy."""

    def addCallback(callback):
        """Run ``callback`` with the result, whatever it is; returns it as a job."""


class ICallbackProxy(IAbstractJob):
    """Chooses a callback when the result is known."""

    job = Attribute("The chosen job; None until then.")

    def getJob(result):
        """Choose, once; returns the job chosen for this result."""


class IJob(IAbstractJob):
    """A call that is stored in the database, to be made later by a worker."""

    callable = Attribute("What is called.")
    args = Attribute("Positional arguments; a mutable sequence.")
    kwargs = Attribute("Keyword arguments; a mutable mapping.")
    annotations = Attribute("Mapping for its user's notes; committed with its work.")
    attempt = Attribute("Raised whenever the job changes hands: the fence.")
    begin_after = Attribute("Aware datetime before which it is not begun.")
    begin_by = Attribute("timedelta after begin_after, past which it fails; or None.")
    quota_names = Attribute("Names of the quotas that it needs a place in.")
    waits_for = Attribute("Why it waits although it is due, in words; or None.")
    deaths = Attribute("The newest deaths of processes that had begun it: Deaths.")
    cancel_requested = Attribute("Whether it should stop; in its own thread only.")

    # The options: set before it is queued, by ``queue.put`` or as attributes, which
    # raise OptionError for a bad value and BadStatusError afterwards.

    priority = Attribute("-100 to 100, a higher one goes first; 0.")
    timeout = Attribute("timedelta that one attempt may take; or None.")
    unique = Attribute("Key that one unfinished job of the queue has; or None.")
    on_duplicate = Attribute('"refuse", "drop" or "replace": what a second one does.')
    debounce = Attribute("timedelta that it begins after the last one of its key.")
    groupable = Attribute("Whether it may share a transaction with other jobs.")
    keep_result = Attribute("timedelta that it is kept after a success; or None.")
    keep_failure = Attribute("timedelta that it is kept after a failure; or None.")

    def __call__(*args, **kwargs):
        """Run it here and now; extra arguments go behind the stored ones.

        Raises BadStatusError unless it is NEW or ASSIGNED.
        """

    def handleInterrupt():
        """Ask the retry policy what to do after an interrupted attempt."""

    def resumeCallbacks():
        """Run the callbacks that are not finished; only in status CALLBACKS."""

    def fail(e=None):
        """End a job that has not begun, with ``e`` or a TimeoutError."""

    endings = Attribute("How it ended before it was retried by hand, oldest first.")

    def cancel(by=None, reason=None):
        """Withdraw it if it waits, or ask it to stop; see ``IQueue.cancel``."""

    def retry():
        """Run it once more, though it has failed for good, in the caller's transaction.

        It waits in front of others. BadStatusError if it has not failed, or was
        cancelled; DuplicateJobError if another job has its unique key by now.
        """


class IPausable(Interface):
    """Something that can be paused: what runs goes on, nothing is begun."""

    paused = Attribute(
        "None, or a Pause: by whom (``by``), ``since`` when, ``reason``."
    )

    def pause(by=None, reason=None):
        """Begin nothing from the commit of this transaction on."""

    def resume():
        """Go on where it stopped."""


class IQueue(IPausable):
    """Jobs in the order of their priority, and in which they were queued."""

    name = Attribute("Name in its queues mapping.")
    parent = Attribute("The queues mapping.")
    quotas = Attribute("Mapping of name to quota.")
    dispatchers = Attribute("Mapping of UUID to the agents of that dispatcher.")
    waiting = Attribute("Jobs that were begun and wait for a job they returned.")
    quarantine = Attribute("The jobs that are set aside; see Quarantine.")
    keep_result = Attribute("timedelta that successes are kept; None: a week.")
    keep_failure = Attribute("timedelta that failures are kept; None: a week.")

    def put(
        item,
        begin_after=None,
        begin_by=None,
        failure_log_level=None,
        retry_policy_factory=None,
        **options,
    ):
        """Queue a job or callable in the caller's transaction; returns the job.

        That is another one than the given only for a ``unique`` job that was dropped.
        ``options`` are those of IJob. Raises TypeError for something that is no job,
        ValueError for a job that was queued already, an unknown quota or a naive
        datetime, OptionError for a bad option, DuplicateJobError if its key is taken.
        """

    def cancel(job, by=None, reason=None):
        """Keep a job from being done, or finished, in the caller's transaction.

        Returns "withdrawn" for one that waited: it is ended with a CancelledError.
        "asked" for one that a worker has, or that waits for others: it ends when it
        comes to a checkpoint, or not at all. "late" for one that is finished.
        BadStatusError for a part of another job and for one that was not queued,
        LookupError for a job of another queue.
        """

    def putBack(item):
        """Return a claimed job to the front.

        DuplicateJobError if its key was given to another one meanwhile.
        """

    def pull(index=0):
        """Take the job at ``index`` out of the queue; IndexError if there is none."""

    def remove(item):
        """Take this job out of the queue; LookupError if it is not in it."""

    def claim(filter=None, default=None):
        """Take out the first job that is due, has its quotas and suits ``filter``."""


class IQueues(Interface):
    """Mapping of name to queue, stored under KEY in a database's root."""


class IQuota(Interface):
    """A limit on how many of its jobs may be under way, over all workers."""

    name = Attribute("Its name")
    size = Attribute("How many; may be changed at any time")
    filled = Attribute("Whether no further job may begin")

    def clean():
        """Forget the jobs that are finished or went back to wait."""


class IQuotas(Interface):
    """Mapping of name to quota; changed through ``create`` and ``remove`` only."""


class IDispatchers(Interface):
    """Mapping of UUID to DispatcherAgents; changed through its methods only."""


class IDispatcherAgents(Interface):
    """One worker process as the others see it: a mapping of name to agent."""

    UUID = Attribute("The worker's UUID")
    activated = Attribute("Since when it works; None when it does not")
    last_ping = Attribute("When it last said that it lives")
    dead = Attribute("Whether it has been silent for longer than it may be")


class IAgent(IPausable):
    """Claims jobs for one dispatcher, from one queue."""

    size = Attribute("How many jobs it runs at a time")
    name = Attribute("Its name among the dispatcher's agents")
    completed = Attribute("Collection of the jobs that it finished")

    def claimJob():
        """Claim one job and return it, or None."""


class IFilterAgent(IAgent):
    """An agent that takes the first job which its filter accepts."""

    def filter(job):
        """Whether this agent would run the job, whatever room it has."""


class ICompletedCollection(Interface):
    """Finished jobs, newest first, kept for a while."""

    def add(item):
        """Take in a finished job."""

    def first(start=None):
        """The newest job, or the newest at or before ``start``."""

    def last(stop=None):
        """The oldest job, or the oldest after ``stop``."""

    def iter(start=None, stop=None):
        """From ``start`` back to ``stop``, newest first."""


class IDispatcherEvent(IObjectEvent):
    """Something happened to a dispatcher; ``object`` is its DispatcherAgents."""


class IDispatcherRegistered(IDispatcherEvent):
    """A dispatcher was seen by a queue for the first time."""


class IDispatcherUnregistered(IDispatcherEvent):
    """A dispatcher was removed from a queue."""


class IDispatcherActivated(IDispatcherEvent):
    """A dispatcher began to work for a queue: the place to add agents."""


class IDispatcherReactivated(IDispatcherEvent):
    """A dispatcher that was wrongly taken for dead is back."""


class IDispatcherDeactivated(IDispatcherEvent):
    """A dispatcher stopped working for a queue, or was found dead."""


class IObjectAdded(IObjectEvent):
    """A queue or the queues mapping was made."""

    parent = Attribute("Where it was added")
    name = Attribute("Its name there")


@implementer(IDispatcherRegistered)
class DispatcherRegistered(ObjectEvent):
    """See IDispatcherRegistered."""


@implementer(IDispatcherUnregistered)
class DispatcherUnregistered(ObjectEvent):
    """See IDispatcherUnregistered."""


@implementer(IDispatcherActivated)
class DispatcherActivated(ObjectEvent):
    """See IDispatcherActivated."""


@implementer(IDispatcherReactivated)
class DispatcherReactivated(ObjectEvent):
    """See IDispatcherReactivated."""


@implementer(IDispatcherDeactivated)
class DispatcherDeactivated(ObjectEvent):
    """See IDispatcherDeactivated."""


@implementer(IObjectAdded)
class ObjectAdded(ObjectEvent):
    """See IObjectAdded."""

    def __init__(self, object, parent, name):
        super().__init__(object)
        self.parent = parent
        self.name = name


class IDatabaseOpenedEvent(Interface):
    """A database is ready; ``database`` is the ZODB.DB."""

    database = Attribute("The database")


@implementer(IDatabaseOpenedEvent)
class DatabaseOpened:
    """For applications without Zope's own start-up events."""

    def __init__(self, database):
        self.database = database
