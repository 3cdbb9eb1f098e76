"""An agent: which jobs one dispatcher takes from one queue, and how many at a time."""

from __future__ import annotations

from . import clock
from . import live
from . import retention
from .base import Base
from .base import database_name
from .base import same
from .claims import Claim
from .completed import Completed
from .interfaces import IAgent
from .interfaces import IDispatcherActivated
from .interfaces import IFilterAgent
from .pausing import Pausable
from .places import drop
from .trees import SmallTree
from collections.abc import Callable
from collections.abc import Iterator
from datetime import datetime
from persistent import Persistent
from ZODB.utils import u64
from zope.component import adapter
from zope.interface import alsoProvides
from zope.interface import implementer
from zope.interface import noLongerProvides


class Claims(Persistent):
    """What an agent has claimed.

    Written by its dispatcher's claims, and by a take-over: that one of the two
    must fail is why there is no conflict resolution.
    """

    #: Triples of job, the attempt that was claimed, and its key in its lane.
    entries: tuple = ()


class Activity(Persistent):
    """Which claimed jobs are running, for observers in other processes.

    Written by its dispatcher in a transaction of its own, only for jobs that
    have been running for a while.
    """

    #: Pairs of database and oid (a pair, the oid as an int), and since when in
    #: microseconds. A worker of before wrote the oid alone in the place of the two.
    running: tuple = ()


@implementer(IAgent)
class Agent(Pausable, Base):
    """See IAgent. With a ``chooser``, that one claims; else ``filter`` limits.

    ``size`` is how many jobs are run at a time; a few more may be claimed and
    wait for a thread. ValueError if both filter and chooser are given.
    """

    _filter: Callable | None = None
    _chooser: Callable | None = None
    name: str | None = None
    #: What its running jobs say of themselves; see ``progress``. Made when needed.
    board = None

    def __init__(
        self,
        chooser: Callable | None = None,
        filter: Callable | None = None,
        size: int = 3,
    ):
        #: How many jobs run at a time; written by hand.
        self.size = size
        #: What is claimed; see Claims.
        self.claims = Claims()
        #: What is running; see Activity.
        self.activity = Activity()
        #: oid to Live, for running jobs that were annotated; see ``live.Live``.
        self.live = SmallTree()
        self.completed = Completed()
        self.completed.parent = self
        alsoProvides(self, IFilterAgent)
        self.chooser = chooser
        self.filter = filter

    def __getnewargs__(self) -> tuple:
        # Classes that have this are referred to by oid alone, without the class's
        # name; each finished job refers to its agent, and 49 bytes are saved.
        return ()

    @property
    def filter(self) -> Callable | None:
        """Called with a job: whether this agent would run it. None takes all."""
        return self._filter

    @filter.setter
    def filter(self, value: Callable | None):
        if value is not None and self._chooser is not None:
            raise ValueError("an agent has a filter or a chooser, not both")
        self._filter = value

    @property
    def chooser(self) -> Callable | None:
        """Called with the agent: claims from its queue; returns a job or None."""
        return self._chooser

    @chooser.setter
    def chooser(self, value: Callable | None):
        if value is not None and self._filter is not None:
            raise ValueError("an agent has a filter or a chooser, not both")
        self._chooser = value
        if value is None:
            alsoProvides(self, IFilterAgent)
        elif IFilterAgent.providedBy(self):
            noLongerProvides(self, IFilterAgent)

    @property
    def queue(self):
        """The queue that it claims from; None while it is in none."""
        return None if self.parent is None else self.parent.parent

    def accepts(self, job) -> bool:
        """Whether the filter lets this job through."""
        return self._filter is None or bool(self._filter(job))

    def claimJob(self):
        """See IAgent: in the caller's transaction, and never beyond ``size``."""
        parent = self.parent
        if parent is None or not parent.activated or parent.dead:
            return None
        if len(self) >= self.size or self.paused or self.queue.paused:
            return None
        if self._chooser is not None:
            job = self._chooser(self)
            if job is None:
                return None
            job.parent = self.queue
            self.hold([(job, job.attempt, 1)])
            return job
        claim = Claim(self.queue, self.accepts, 1, clock.now_us())
        runs = claim.take()
        retention.file(self.queue, self, [(job, None) for job in claim.finished])
        for run in runs:
            self.hold(run)
            return run[0][0]
        return None

    def hold(self, entries: list) -> None:
        """Add claimed jobs: triples of job, attempt and lane key."""
        self.claims.entries = (*self.claims.entries, *entries)

    def release(self, job) -> None:
        """Forget a claimed job, wherever it goes."""
        self.claims.entries = tuple(
            entry for entry in self.claims.entries if not same(entry[0], job)
        )

    def holds(self, job) -> bool:
        """Whether it has claimed this job."""
        return any(same(entry[0], job) for entry in self.claims.entries)

    def is_running(self, job) -> bool:
        """Whether its dispatcher reported that this job runs."""
        return self.running_since(job) is not None

    def running_since(self, job) -> datetime | None:
        """When this job began to run, if its dispatcher reported that."""
        if job._p_oid is None:
            return None
        number = u64(job._p_oid)
        names = ((database_name(job), number), number)
        for name, since in self.activity.running:
            if name in names:
                return clock.from_us(since)
        return None

    def jobCompleted(self, job) -> None:
        """Move a finished job to ``completed``."""
        self.release(job)
        live.keep(self, job)
        drop(self.queue, [job])
        retention.file(self.queue, self, [(job, None)])

    def remove(self, item) -> None:
        """Forget a claimed job; ValueError if it is not claimed."""
        self.index(item)
        self.release(item)

    def pull(self, index: int = 0):
        """Forget the job at ``index`` and return it; IndexError if there is none."""
        job = self[index]
        self.release(job)
        return job

    def __delitem__(self, index: int) -> None:
        self.pull(index)

    def index(self, item) -> int:
        """Position of a claimed job; ValueError if it is not claimed."""
        for position, job in enumerate(self):
            if same(job, item):
                return position
        raise ValueError(f"{item!r} is not claimed by this agent")

    def __getitem__(self, index: int):
        return self.claims.entries[index][0]

    def __iter__(self) -> Iterator:
        return (entry[0] for entry in self.claims.entries)

    def __len__(self) -> int:
        return len(self.claims.entries)

    def __bool__(self) -> bool:
        return bool(self.claims.entries)

    def __contains__(self, item) -> bool:
        return self.holds(item)


def chooseFirst(agent):
    """A chooser that takes what comes first; the default does so, and faster."""
    return agent.queue.claim()


@adapter(IDispatcherActivated)
def addMainAgentActivationHandler(event) -> None:
    """Give a dispatcher that begins to work the agent ``main``, if it lacks it."""
    if "main" not in event.object:
        event.object["main"] = Agent()
