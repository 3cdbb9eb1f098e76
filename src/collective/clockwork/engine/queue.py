"""The queue: the public face over intakes, lanes, schedule and quotas.

A job that was put is in one place at any time::

    intake ──claim──► claimed by an agent ──► the agent's completed jobs
      │                 ▲            │
      ├──► a lane ──────┤            └──► waiting (for a job that it returned)
      └──► the schedule ┘

Only ``put`` writes an intake, and only the intake of its own connection; all
other moves are made by claimers (see ``claims``).
"""

from __future__ import annotations

from . import cancelling
from . import clock
from . import deadlines
from . import options as job_options
from . import quarantine
from . import unique
from . import wake
from .base import Base
from .base import same
from .base import TreeMapping
from .callables import check_storable
from .callbacks import as_job
from .claims import Claim
from .intake import intake_for
from .intake import Intakes
from .interfaces import IQueue
from .interfaces import IQueues
from .interfaces import IUUID
from .interfaces import KEY
from .interfaces import NEW
from .lanes import Lane
from .listing import Listing
from .pausing import Pausable
from .places import drop
from .places import enter
from .places import lane_names
from .places import leave
from .places import place
from .presence import DispatcherAgents
from .presence import Dispatchers
from .quota import Quota
from .quota import Quotas
from .retention import Keeping
from .trees import SmallTree
from BTrees.OOBTree import OOBTree
from collections.abc import Callable
from collections.abc import MutableMapping
from datetime import datetime
from datetime import timedelta
from ZODB.interfaces import IConnection
from zope.component import queryUtility
from zope.interface import implementer

import transaction


__all__ = [
    "DispatcherAgents",
    "Dispatchers",
    "Queue",
    "Queues",
    "Quota",
    "Quotas",
    "getDefaultQueue",
]


@implementer(IQueues)
class Queues(TreeMapping, MutableMapping):
    """See IQueues. Name to Queue; changed by installers and by hand."""

    def __setitem__(self, name: str, queue: Queue):
        if not IQueue.providedBy(queue):
            raise ValueError(f"{queue!r} is not a queue")
        if name in self._data:
            del self[name]
        queue.name = name
        queue.parent = self
        self._data[name] = queue

    def __delitem__(self, name: str):
        queue = self._data[name]
        del self._data[name]
        queue.name = queue.parent = None


@implementer(IQueue)
class Queue(Listing, Keeping, Pausable, Base):
    """See IQueue.

    Its own record is written when it is made, and never again, except that one from
    before there were ``deadlines`` gets them with the first entry.
    """

    name: str | None = None
    #: Which unique job has which key; made by an installer, or with the first one.
    keys: unique.Keys | None = None
    #: Jobs that are set aside; made with the first one.
    _quarantine: quarantine.Quarantine | None = None
    #: Cancels that were asked for, and waiting jobs that were cancelled; see
    #: ``cancelling``. Made with the first one.
    cancels: OOBTree | None = None
    withdrawn: OOBTree | None = None
    #: Jobs in lanes that have to begin by some moment.
    deadlines: deadlines.Deadlines | None = None

    def __init__(self):
        self.intakes = Intakes()
        #: Tuple of quota names to Lane; a lane is added when first needed.
        self.lanes = OOBTree()
        self.lanes[()] = Lane()
        self.lanes[()].parent = self
        #: Jobs whose time has not come, by that time.
        self.schedule = Lane()
        self.schedule.parent = self
        self.deadlines = deadlines.Deadlines()
        #: oid to job, for jobs that wait for one which they returned; for those
        #: of another database see ``places.waiting_key``.
        self.waiting = SmallTree()
        self.quotas = Quotas()
        self.quotas.parent = self
        self.dispatchers = Dispatchers()
        self.dispatchers.parent = self

    # Putting in

    def put(
        self,
        item,
        begin_after: datetime | None = None,
        begin_by: timedelta | None = None,
        failure_log_level: int | None = None,
        retry_policy_factory=None,
        **options,
    ):
        """See IQueue."""
        job = as_job(item)
        if job.status != NEW:
            raise ValueError("cannot add already-assigned job", job)
        self.check_quota_names(job.quota_names)
        check_storable(
            [(f"argument {n}", value) for n, value in enumerate(job._args)]
            + [(f"argument {name}", v) for name, v in (job._kwargs or {}).items()]
        )
        job_options.apply(job, options)
        if begin_after is not None:
            job.begin_after = begin_after
        if begin_by is not None:
            job.begin_by = begin_by
        if failure_log_level is not None:
            job.failure_log_level = failure_log_level
        if retry_policy_factory is not None:
            job.retry_policy_factory = retry_policy_factory
        job_options.check_together(job)
        decision = None
        if job._unique is not None:
            decision = unique.decide(self, job)
            if decision.action == unique.GIVE_BACK:
                return decision.other
        uuid = queryUtility(IUUID)
        job.assignerUUID = uuid
        jar = self._p_jar
        if jar is not None and job._p_jar is None:
            jar.add(job)
        job.mark_queued(self, clock.now_us(), self._count_put())
        if decision is not None:
            unique.enter(self, job, decision)
        intake_for(self.intakes, job._priority).append(job)
        if jar is not None:
            wake.after_commit(jar)
        return job

    def _count_put(self) -> int:
        """How many jobs the present transaction has put here before."""
        jar = self._p_jar
        manager = transaction.manager if jar is None else jar.transaction_manager
        current = manager.get()
        try:
            count = current.data(self) + 1
        except KeyError:
            count = 0
        current.set_data(self, count)
        return count

    def check_quota_names(self, names: tuple) -> None:
        """Raise ValueError for a name that no quota of this queue has."""
        for name in names:
            if name not in self.quotas:
                known = ", ".join(map(repr, self.quotas)) or "none"
                raise ValueError("unknown quota name", name, f"known are: {known}")

    def putBack(self, item) -> None:
        """See IQueue."""
        unique.retake(self, item)
        self.take_back(item, front=True)

    def take_back(self, job, front: bool = True) -> None:
        """Let a job that left the queue wait again, in front when it is due."""
        job.parent = self
        now = clock.now_us()
        if job._queued is None:
            job.mark_queued(self, now, self._count_put())
        drop(self, [job])
        place(self, job, None, now)

    # Taking out

    def cancel(self, job, by: str | None = None, reason: str | None = None) -> str:
        """See IQueue."""
        return cancelling.cancel(self, job, by, reason)

    def claim(self, filter: Callable | None = None, default=None):
        """See IQueue."""

        def accepts(job) -> bool:
            return filter is None or bool(filter(job))

        claim = Claim(self, accepts, 1, clock.now_us())
        runs = claim.take()
        agents = (a for agents in self.dispatchers.values() for a in agents.values())
        agent = next(agents, None)
        if agent is not None:
            # It is none of their business who took these out.
            agent.completed.extend(claim.finished)
        for run in runs:
            job = run[0][0]
            job.parent = None
            return job
        return default

    def pull(self, index: int = 0):
        """See IQueue."""
        job = self[index]
        self.remove(job)
        return job

    def remove(self, item) -> None:
        """See IQueue."""
        outer = item._outer
        if outer is not None and outer.is_waiting:
            raise ValueError(
                f"{outer!r} waits for {item!r}: call its fail() instead of removing it"
            )
        if not self._take_out(item):
            raise LookupError("item not in queue", item)
        drop(self, [item])
        item.parent = None
        item.assignerUUID = None
        item.attempt += 1

    def _take_out(self, job) -> bool:
        for lane in [*self.lanes.values(), self.schedule]:
            if lane.length:
                key = lane.find(job, job.order_key())
                if key is not None:
                    leave(self, lane, key, job)
                    return True
        for intake in self.intakes.values():
            for key, other in intake.unread():
                if same(other, job):
                    intake.take(key)
                    return True
        return self.quarantine.withdraw(job)

    def replace(self, job) -> None:
        """Move a waiting job to the lane of its quotas, if it is in another."""
        names = lane_names(self, job)
        for lane in list(self.lanes.values()):
            if not lane.length or lane.names == names:
                continue
            key = lane.find(job, job.order_key())
            if key is not None:
                leave(self, lane, key, job)
                enter(self, names, key, job)
                return
        for intake in self.intakes.values():
            for position, other in intake.unread():
                if same(other, job):
                    # So that a claimer which is reading it at this moment, with
                    # its old quotas, conflicts.
                    intake.take(position)
                    place(self, job, job.order_key(), clock.now_us())
                    return

    def note_deadline(self, job) -> None:
        """Take notice that the ``begin_by`` of a waiting job was changed."""
        for lane in self.lanes.values():
            if lane.length:
                key = lane.find(job, job.order_key())
                if key is not None:
                    deadlines.note(self, job, lane.names, key)

    # Looking

    @property
    def quarantine(self) -> quarantine.Quarantine:
        """The jobs that are set aside; see Quarantine."""
        return quarantine.of(self)


def getDefaultQueue(obj) -> Queue:
    """The queue named '' of the database that ``obj`` is in.

    ``obj`` is a connection or a persistent object. KeyError if there are no
    queues, TypeError if it is in no database. As in zc.async.
    """
    jar = getattr(obj, "_p_jar", None)
    return IConnection(obj if jar is None else jar).root()[KEY][""]
