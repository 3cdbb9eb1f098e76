"""What has to hold of a queue at any moment, and the jobs that it is checked with.

``World`` is one database with a queue; ``check`` compares it with what was
accepted. The numbers are those of the invariants in the test's module.
"""

from __future__ import annotations

from BTrees.OOBTree import OOBTree
from collections import Counter as Count
from collections.abc import Iterator
from collective.clockwork.engine import claims
from collective.clockwork.engine import clock
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.failure import isFailure
from collective.clockwork.engine.interfaces import IDispatcherRegistered
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.queue import Queues
from collective.clockwork.tests.engine import modeljobs
from collective.clockwork.tests.engine.modelfates import allowed_deaths
from collective.clockwork.tests.engine.modelfates import Fates
from collective.clockwork.tests.engine.modeljobs import ALL_KINDS
from collective.clockwork.tests.engine.modeljobs import effect
from collective.clockwork.tests.engine.modeljobs import effect_and_fail
from collective.clockwork.tests.engine.modeljobs import elapse
from collective.clockwork.tests.engine.modeljobs import family
from collective.clockwork.tests.engine.modeljobs import is_kept_briefly
from collective.clockwork.tests.engine.modeljobs import KINDS
from collective.clockwork.tests.engine.modeljobs import make_job
from collective.clockwork.tests.engine.modeljobs import ORDERED
from collective.clockwork.tests.engine.modeljobs import outermost
from collective.clockwork.tests.engine.modeljobs import promised
from collective.clockwork.tests.engine.modeljobs import SIZED
from collective.clockwork.tests.engine.modeljobs import TASTES
from collective.clockwork.tests.engine.modelprocess import Supervised
from collective.clockwork.tests.engine.stepping import PATIENCE
from collective.clockwork.tests.engine.work import Counter
from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from types import SimpleNamespace
from unittest import mock
from uuid import UUID
from ZODB.DemoStorage import DemoStorage

import random
import threading
import time
import transaction
import ZODB
import ZODB.utils
import zope.event


__all__ = [
    "ALL_KINDS",
    "KINDS",
    "ORDERED",
    "SIZED",
    "TASTES",
    "Job",
    "World",
    "effect",
    "effect_and_fail",
    "make_job",
]

BEGINNING = datetime(2030, 1, 1, tzinfo=timezone.utc)
#: The key of which at most one job is unfinished; another is debounced.
KEY_OF_ONE, KEY_OF_LAST = "one of it", "the last of it"
#: Seconds in which a thread that may hang does so in the end, so that others meet it.
PATIENT_FOR = 12
UUIDS = [UUID(int=number) for number in range(1, 4)]


# What has to hold


@dataclass
class Accepted:
    """A job whose queueing was committed."""

    name: str
    oid: bytes
    quota_names: tuple
    removed: bool = False
    #: What the queue said when it was cancelled.
    answer: str | None = None


class World:
    """A database with a queue, its clock, and what it is compared with.

    ``make_db`` opens the database, whose queue may be in another one of the
    name ``queues_in``.
    """

    def __init__(self, make_db=None, queues_in: str | None = None):
        self.now = BEGINNING
        clock.freeze(self.now)
        ticking = SimpleNamespace(time=self._timestamp, gmtime=time.gmtime)
        self._patches = [
            # Transaction ids are made of the time, and names of chance.
            mock.patch.object(ZODB.utils, "time", ticking),
            mock.patch(
                "collective.clockwork.engine.intake.uuid4",
                lambda: UUID(int=random.getrandbits(128)),
            ),
            # So few that they are reached.
            mock.patch.object(claims, "MOVED_AT_ONCE", 6),
            mock.patch.object(claims, "REFUSED_AT_ONCE", 2),
        ]
        modeljobs.forget()
        elapse[:] = [self.pass_time]
        zope.event.subscribers.append(self._furnish)
        for patch in self._patches:
            patch.start()
        self.queues_in = queues_in
        self.db = ZODB.DB(DemoStorage(), pool_size=100) if not make_db else make_db()
        self.tm = transaction.TransactionManager()
        self.connection = self.db.open(self.tm)
        if KEY not in self.connection.root():
            self._install()
        self.accepted: list[Accepted] = []
        self.fates = Fates()
        #: Identities of processes that a chooser has claimed for.
        self.choosy: set[UUID] = set()
        self.processes = [self.start(uuid) for uuid in UUIDS[:2]]
        #: Stopped ones, whose jobs still run.
        self.zombies: list[Supervised] = []
        self.settled: dict[bytes, tuple] = {}
        self.completed: dict[bytes, tuple] = {}
        self.allowed = {ORDERED: 1, SIZED: 2}

    def _timestamp(self) -> float:
        # A commit takes a while, and the next one has a later id by more than 1.
        self.pass_time(0.001)
        return self.now.timestamp()

    def _install(self) -> None:
        root = self.connection.root()
        queues = root[KEY] = Queues()
        if self.queues_in is not None:
            other = self.connection.get_connection(self.queues_in)
            other.add(queues)
            other.root()[KEY] = queues
        queue = queues[""] = Queue()
        queue.quotas.create(ORDERED, 1)
        queue.quotas.create(SIZED, 2)
        for uuid in UUIDS:
            queue.dispatchers.register(uuid)
        root["ledger"] = OOBTree()
        root["shared"] = Counter()
        self.tm.commit()

    def _furnish(self, event) -> None:
        if IDispatcherRegistered.providedBy(event):
            event.object.ping_interval = timedelta(seconds=3)
            event.object.ping_death_interval = timedelta(seconds=8)
            event.object["main"] = Agent(size=2)

    def start(self, uuid: UUID) -> Supervised:
        """A new process of this identity."""
        return Supervised(self.db, uuid, self)

    def is_begun(self, process: Supervised, *running) -> bool:
        """Whether these are begun in earnest, and not only to be failed or called back.

        A chooser decides by itself what is begun together.
        """
        self.tm.begin()
        now = clock.now_us()
        jobs = [self.queue._p_jar.get(each.ticket.oid) for each in running]
        return process.uuid not in self.choosy and not any(
            job._status >= 2 or job.is_expired(now) for job in jobs
        )

    def note_death(self, process: Supervised, ticket) -> None:
        """A process is about to die of a job, which it has claimed so."""
        self.tm.begin()
        jar = self.queue._p_jar
        claims = [
            job
            for agent in self.queue.dispatchers[process.uuid].values()
            for job, attempt, _key in agent.claims.entries
            if job._status < 3 and job.attempt == attempt
        ]
        running = [
            jar.get(other.oid)
            for pool in process.pools
            for each in pool.running.values()
            for other in each.tickets
        ]
        job = jar.get(ticket.oid)
        self.fates.note_death(job, ticket.attempt, claims, running)

    def close(self) -> None:
        for process in [*self.processes, *self.zombies]:
            process.kill()
        self.tm.abort()
        for db in list(self.db.databases.values()):
            db.close()
        zope.event.subscribers.remove(self._furnish)
        for patch in self._patches:
            patch.stop()
        clock.freeze(None)

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        clock.freeze(self.now)

    @property
    def queue(self) -> Queue:
        return self.connection.root()[KEY][""]

    def jobs(self) -> Iterator[tuple[Accepted, Job]]:
        for accepted in self.accepted:
            yield accepted, self.queue._p_jar.get(accepted.oid)

    def fire(self, index: int, fails: bool, patient: bool = False) -> bool:
        """Let one of the Deferreds fire that somebody alive waits for, if any.

        With ``patient`` only such of jobs that may take any time.
        """
        alive = {process.dispatcher for process in [*self.processes, *self.zombies]}
        awaited = [each for each in promised if each[0] in alive and each[2].watched]
        awaited = [each for each in awaited if each[3] or not patient]
        if not awaited:
            return False
        _dispatcher, name, deferred, _patient = each = awaited[index % len(awaited)]
        promised.remove(each)
        if fails:
            deferred.errback(ValueError("in the end"))
        else:
            deferred.callback(name)
        for thread in threading.enumerate():
            if thread.name.startswith("clockwork-deferred-"):
                thread.join(PATIENCE)
                assert not thread.is_alive(), f"{thread.name} hangs"
        return True

    def check(self) -> None:
        """Compare the database of now with what has to be in it."""
        self.tm.begin()
        places = self.places()
        assert len(self.queue) == len(list(self.queue))
        known = set()
        for accepted, top in self.jobs():
            for job in family(top):
                known.add(job._p_oid)
                gone = accepted.removed and job is top
                self._check_place(job, places[job._p_oid], gone)
                self._check_answer(accepted.answer, job, job is top)
                self._check_effect(job)
                self._check_end(job)
                if not gone:
                    self.fates.check(job, job in self.queue.quarantine)
                for callback in job.callbacks:
                    self._check_callback(job, callback)
        stray = [self.queue._p_jar.get(oid) for oid in set(places) - known]
        assert not stray, f"jobs that nobody has queued: {stray}"
        self._check_order()
        self._check_keys()
        self._check_quotas()

    def places(self) -> Count:
        """How often each job is in a place of the queue."""
        queue = self.queue
        places = Count(job._p_oid for job in queue.waiting.values())
        # Its own place: nobody is there and anywhere else.
        places.update(job._p_oid for job in queue.quarantine)
        for intake in queue.intakes.values():
            places.update(job._p_oid for _key, job in intake.unread())
        for lane in [*queue.lanes.values(), queue.schedule]:
            assert lane.length == len(lane.jobs), lane.names
            places.update(job._p_oid for job in lane.jobs.values())
        for agents in queue.dispatchers.values():
            for agent in agents.values():
                places.update(job._p_oid for job in agent)
                places.update(job._p_oid for job in agent.completed)
        return places

    def _check_place(self, job, count: int, gone: bool) -> None:
        # 1: a member of a batch is nowhere until its turn comes.
        expected = 0 if gone or job._queued is None else 1
        if count == 0 and job._status == 3 and is_kept_briefly(job):
            return
        if count == 1 and job._queued is None and job._status >= 2:
            # It was cancelled together with its batch.
            return
        assert count == expected, f"{job!r} is in {count} places"

    def _check_answer(self, answer: str | None, job, is_top: bool) -> None:
        # 3: that one without a failure has its effect is looked at for all.
        if answer == "withdrawn" and is_top:
            assert job._status >= 2, f"{job!r} was withdrawn, and waits"
            assert isFailure(job._result), f"{job!r} was withdrawn, and ran"
            assert job._result.check(CancelledError), f"{job!r}: {job._result!r}"

    def _check_keys(self) -> None:
        # 8: a debounced one may wait beside one that runs.
        unfinished = [
            job
            for accepted, job in self.jobs()
            if job._unique == KEY_OF_ONE and not accepted.removed and job._status < 2
        ]
        assert len(unfinished) <= 1, f"one key: {unfinished}"

    def _check_effect(self, job) -> None:
        # 3
        names = [argument for argument in job._args if isinstance(argument, str)]
        if not names or isinstance(job._callable, Job):
            return
        done = job._status >= 2 and not isFailure(job._result)
        if job._annotations and "inner" in job.annotations:
            done = True
        count = self.connection.root()["ledger"].get(names[0], 0)
        if job.callable_name.endswith(".effect_and_defer"):
            # Each attempt that came to its Deferred has its effect.
            least = int(done or job._deferred)
            assert least <= count <= job.attempt + 1, f"{job!r}: {count} effects"
            return
        assert count == int(done), f"{job!r} had its effect {count} times"

    def _check_end(self, job) -> None:
        # 5
        if job._status >= 2:
            outcome = (repr(job._result), job._active_end)
            assert self.settled.setdefault(job._p_oid, outcome) == outcome
        else:
            assert job._p_oid not in self.settled, f"{job!r} began anew"
        if job._status == 3:
            outcome = (job._callbacks_end, len(job.callbacks))
            assert self.completed.setdefault(job._p_oid, outcome) == outcome
        else:
            assert job._p_oid not in self.completed, f"{job!r} is undone"

    def _check_callback(self, job, callback) -> None:
        self._check_effect(callback)
        if job._status == 3:
            assert callback._status, f"{callback!r} was left out"
        elif job._status < 2:
            assert not callback._status, f"{callback!r} came too early"

    def _check_order(self) -> None:
        # 4: of those put off, set aside or come too late, the order is another.
        waiting: dict[int, Job] = {}
        for accepted, job in self.jobs():
            if accepted.quota_names != (ORDERED,) or accepted.removed:
                continue
            if job._begin_after is not None or job._begin_by is not None:
                continue
            if accepted.answer is not None or len(job.deaths) > allowed_deaths(job):
                continue
            if job._status < 2:
                waiting[job.priority] = job
            elif not (isFailure(job._result) and job._result.check(CancelledError)):
                before = waiting.get(job.priority)
                assert before is None, f"{job!r} has overtaken {before!r}"

    def running(self) -> list[Job]:
        """What threads are at that could commit it."""
        held = {}
        for agents in self.queue.dispatchers.values():
            for agent in agents.values():
                for job, attempt, _key in agent.claims.entries:
                    held[job._p_oid] = (agent._p_oid, attempt)
        found = []
        for process in [*self.processes, *self.zombies]:
            for pool in process.pools:
                for running in pool.running.values():
                    ticket = running.ticket
                    if held.get(ticket.oid) == (ticket.agent_oid, ticket.attempt):
                        found.append(self.queue._p_jar.get(ticket.oid))
        # One that is past its moment is only there to be failed.
        now = clock.now_us()
        return [job for job in found if job._status < 2 and not job.is_expired(now)]

    def deferred(self) -> list[Job]:
        """Claimed jobs that wait for a Deferred."""
        return [
            job
            for agents in self.queue.dispatchers.values()
            for agent in agents.values()
            for job in agent
            if job._deferred
        ]

    def _check_quotas(self) -> None:
        running = self.running()
        oids = [job._p_oid for job in running]
        # 2
        assert len(oids) == len(set(oids)), "a job runs twice"
        under_way = [*running, *self.queue.waiting.values(), *self.deferred()]
        for name, quota in self.queue.quotas.items():
            holders = {
                outermost(job, name)._p_oid
                for job in under_way
                if name in job.quota_names and job._status < 2
            }
            # 4
            assert len(holders) <= self.allowed[name], f"{name}: {holders}"
            if self._claimed(name) <= quota.size:
                # A smaller size stops none that was claimed before.
                self.allowed[name] = quota.size

    def _claimed(self, quota_name: str) -> int:
        jobs = list(self.queue.waiting.values())
        for agents in self.queue.dispatchers.values():
            for agent in agents.values():
                jobs.extend(agent)
        return sum(quota_name in job.quota_names and job._status < 2 for job in jobs)

    def give_taste(self, *uuids: UUID, filter=None, chooser=None) -> None:
        """Let the agents of these dispatchers take other jobs; commits."""
        self.tm.begin()
        for uuid in uuids:
            if uuid in self.queue.dispatchers:
                agent = self.queue.dispatchers[uuid]["main"]
                agent.filter = agent.chooser = None
                agent.filter, agent.chooser = filter, chooser
                if chooser is not None:
                    self.choosy.add(uuid)
        self.tm.commit()

    def release(self, job, mended: bool) -> None:
        """Let go on what was set aside; commits."""
        self.queue.quarantine.release(job)
        self.tm.commit()
        self.fates.released[job._p_oid] += 1
        if mended:
            modeljobs.mended.add(job._args[1])

    def discard(self, job) -> None:
        """Fail what was set aside; commits."""
        self.queue.quarantine.discard(job)
        self.tm.commit()
        self.fates.discarded.add(job._p_oid)

    # The end

    def settle(self) -> None:
        """Let all come to its end; AssertionError if it does not.

        Of 6: what was accepted ends, whatever happened before.
        """
        for process in [*self.processes, *self.zombies]:
            process.go_on()
        self.give_taste(*UUIDS)
        self.queue.resume()
        for agents in self.queue.dispatchers.values():
            for agent in agents.values():
                agent.resume()
        self.tm.commit()
        for number in range(240):
            if number % PATIENT_FOR == PATIENT_FOR - 1:
                self._wake_all(patient=True)
            for process in self.processes:
                process.poll()
                process.go_on()
                while self.fire(0, False, True):
                    self.check()
                self.check()
            left = [job for a, job in self.jobs() if not a.removed and job._status < 3]
            if not left:
                self._wake_all()
                return
            if all(job in self.queue.quarantine for job in left):
                # Nothing else has waited for the decision.
                self._decide(left)
            self.pass_time(1)
        raise AssertionError(f"never ended: {left}")

    def _decide(self, jobs: list) -> None:
        """About those that are set aside; in the end none of them kills any more."""
        for job in jobs:
            if job._status == 0 and not self.fates.released[job._p_oid]:
                self.release(job, False)
            elif job._status == 0 and job._p_oid[-1] % 2:
                self.release(job, True)
            elif job._status == 0:
                self.discard(job)

    def _wake_all(self, patient: bool = False) -> None:
        for process in [*self.processes, *self.zombies]:
            while process.wake(0, patient):
                process.go_on()
                self.check()
