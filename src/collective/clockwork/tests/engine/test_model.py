"""Random interleavings of producers and workers, on a real database.

After each step these have to hold (``model`` refers to them by number):

1. A job is in exactly one place, or nowhere because it was removed by name.
2. At most one thread can commit a job's effects.
3. Its effects are in the database if and only if it ended without a failure.
4. A quota is never exceeded, and in one of size 1 the order of queueing holds.
5. What has ended stays as it is.
6. In the end, whatever was killed, everything that was accepted has ended.
7. A producer's commit never conflicts, unless its intake was closed as idle since
   its transaction began, or it has queued a unique job.
8. Of a unique key there is at most one unfinished job.
9. A job is set aside if and only if as many processes died of it as its policy says,
   since it was queued or released. It stays until somebody decides, and has all its
   attempts again when it is released. A death counts if the process had nothing else,
   each is on record, and what may have killed is begun alone.
10. What takes longer than its timeout fails, whether its thread comes back or not, and
   nothing fails so before.

A job that is set aside is in no other place, one that was withdrawn has ended without
its effect, and what is kept for a while only may be gone when it has ended.

``make model`` sets ``CLOCKWORK_MODEL_EXAMPLES``: that many examples instead of a
few, other ones each time. A failing one is printed with the steps that lead to it.
"""

from __future__ import annotations

from collective.clockwork.engine.attempt import LOST
from collective.clockwork.engine.errors import DuplicateJobError
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.tidy import Tidier
from collective.clockwork.tests.engine import model
from collective.clockwork.tests.engine.modelfates import GOALS
from collective.clockwork.tests.engine.modeljobs import HANGS
from datetime import timedelta
from hypothesis import event
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize
from hypothesis.stateful import invariant
from hypothesis.stateful import rule
from hypothesis.stateful import RuleBasedStateMachine
from transaction.interfaces import TransactionError
from ZODB.POSException import ConflictError

import logging
import os
import pytest
import sys
import transaction


EXAMPLES = os.environ.get("CLOCKWORK_MODEL_EXAMPLES")

processes = st.integers(0, 1)
#: Options of jobs: hardly anything, most of the time.
OPTIONS = [{}] * 6
OPTIONS += [{"priority": 5}, {"priority": 5}, {"priority": -5}]
OPTIONS += [
    {"unique": model.KEY_OF_ONE, "on_duplicate": then}
    for then in ("refuse", "drop", "replace")
]
OPTIONS += [{"unique": model.KEY_OF_LAST, "debounce": timedelta(seconds=1)}]
OPTIONS += [
    {"keep_result": timedelta(), "keep_failure": timedelta(minutes=2), "priority": 1}
]


def jobs_of(kinds, within=(None, None, None, 6, 1), options=OPTIONS):
    """Kind, quotas, seconds until due and to begin in, a variation, a callback."""
    return st.tuples(
        st.sampled_from(kinds),
        st.sampled_from([(), (model.ORDERED,), (model.SIZED,)]),
        st.sampled_from([None, None, None, -5, 2]),
        st.sampled_from(within),
        st.booleans(),
        st.sampled_from([None, None, model.effect, model.effect_and_fail]),
        st.sampled_from(options),
    )


jobs = jobs_of(model.ALL_KINDS)
#: One that hangs, one that kills, and two that take too long: by chance few courses
#: of events would come to them.
sick_jobs = st.tuples(
    jobs_of(["hangs"], [None], [{}]),
    jobs_of(["poison"], [None], [{}]),
    jobs_of(["too slow"], [None], [{}]),
    jobs_of(["late"], [None], [{}]),
).flatmap(st.permutations)


class Producer:
    """A connection that queues, with transactions of any length."""

    def __init__(self, db):
        self.tm = transaction.TransactionManager()
        self.connection = db.open(self.tm)
        self.put: list = []
        #: Whether intakes were closed since its transaction began.
        self.tidied = False
        #: Whether it has queued a unique job in it.
        self.unique = False


#: What the examples came to.
reached: set[str] = set()


class QueueMachine(RuleBasedStateMachine):
    """Producers, two worker processes and somebody with a screwdriver."""

    def __init__(self):
        super().__init__()
        logging.disable(logging.CRITICAL)
        self.world = model.World()
        self.producers = [Producer(self.world.db) for _ in range(3)]
        self.uuids = list(model.UUIDS)
        self.tidier = Tidier()
        self.count = 0

    def teardown(self):
        try:
            if sys.exc_info()[1] is None:
                for producer in self.producers:
                    producer.tm.abort()
                seen = self.world.fates.seen
                for each in sorted(seen):
                    event(f"{each}, on the way")
                self.world.settle()
                for each in sorted(seen):
                    event(f"{each}, in the end at least")
                reached.update(seen)
        finally:
            for producer in self.producers:
                producer.tm.abort()
            self.world.close()
            logging.disable(logging.NOTSET)

    @invariant()
    def all_is_well(self):
        self.world.check()

    # Producers

    @initialize(
        jobs=st.lists(jobs, min_size=3, max_size=6),
        sick=sick_jobs,
        healthy=st.sampled_from([False, False, False, False, False, True]),
        turns=st.sampled_from([0, 3, 6]),
    )
    def begin(self, jobs, sick, healthy, turns):
        sick = () if healthy else sick
        self.queue(0, [*jobs[:2], *sick, *jobs[2:]], True)
        self.live(0, turns)

    @rule(
        producer=st.integers(0, 2),
        jobs=st.lists(jobs, min_size=1, max_size=4),
        commit=st.sampled_from([True, True, False]),
    )
    def queue(self, producer, jobs, commit):
        who = self.producers[producer]
        for job in jobs:
            self._put(who, *job)
        if commit:
            self.end(producer, True)

    def _put(self, who, kind, quota_names, due, within, odd, callback, options):
        root = who.connection.root()
        self.count += 1
        name = f"{self.count}"
        job = model.make_job(root, kind, name, quota_names, odd)
        if callback is not None:
            job.addCallback(model.Job(callback, root["ledger"], f"{name} callback"))
        if due is not None:
            due = self.world.now + timedelta(seconds=due)
        if within is not None:
            within = timedelta(seconds=within)
        if "debounce" in options:
            due = None
        who.unique |= "unique" in options
        try:
            put = root[KEY][""].put(job, begin_after=due, begin_by=within, **options)
        except DuplicateJobError:
            return
        if put is job:
            who.put.append((name, job))

    @rule(producer=st.integers(0, 2), commit=st.booleans())
    def end(self, producer, commit):
        """The next transaction begins at once, and with it what it sees."""
        who = self.producers[producer]
        if commit:
            try:
                who.tm.commit()
                for name, job in who.put:
                    self.world.accepted.append(
                        model.Accepted(name, job._p_oid, job.quota_names)
                    )
            except ConflictError:
                # 7: except with an intake that was closed after an idle hour.
                assert who.tidied or who.unique
                who.tm.abort()
        else:
            who.tm.abort()
        who.put = []
        who.tm.begin()
        who.tidied = who.unique = False

    # Workers

    @rule(process=processes, steps=st.integers(1, 8))
    def poll(self, process, steps):
        for _ in range(steps):
            self.world.processes[process].poll()
            self.world.check()

    @rule(process=processes)
    def poll_to_the_end(self, process):
        poller = self.world.processes[process]
        poller.poll()
        while poller.poller is not None:
            poller.poll()

    @rule(process=processes, thread=st.integers(0, 1), steps=st.integers(1, 8))
    def work(self, process, thread, steps):
        worker = self.world.processes[process]
        worker.start_work()
        for _ in range(steps):
            worker.work(thread)
            self.world.check()

    @rule(process=processes)
    def go_on(self, process):
        self.world.processes[process].go_on()

    @rule(process=processes, turns=st.integers(1, 4))
    def live(self, process, turns):
        """It claims, and does all that it can; where it dies, it is started again."""
        for _ in range(turns):
            self.world.pass_time(2)
            self.poll_to_the_end(process)
            self.world.processes[process].go_on()
            self.world.check()

    @rule(index=st.integers(0, 5))
    def wake(self, index):
        """A thread that hung comes back, whoever has its job by now."""
        processes = [*self.world.processes, *self.world.zombies]
        hanging = [process for process in processes if process.hanging]
        if hanging:
            hanging[index % len(hanging)].wake(index)

    @rule(index=st.integers(0, 5), thread=st.integers(0, 1), steps=st.integers(1, 4))
    def work_late(self, index, thread, steps):
        zombies = [zombie for zombie in self.world.zombies if zombie.workers]
        for _ in range(steps):
            if zombies:
                zombies[index % len(zombies)].work(thread)
                self.world.check()

    @rule(process=processes, how=st.sampled_from(["kill", "stop", "take over"]))
    def accident(self, process, how):
        """A process ends, or the others believe that it did."""
        world = self.world
        old = world.processes[process]
        if how == "take over":
            self._take_over(old)
            return
        if how == "kill":
            old.kill()
        else:
            old.stop()
            world.zombies.append(old)
        # The new one takes turns with a third, so that others take over, too.
        others = [other.uuid for other in world.processes if other is not old]
        uuid = next(uuid for uuid in self.uuids if uuid not in others)
        self.uuids.append(self.uuids.pop(self.uuids.index(uuid)))
        world.processes[process] = world.start(uuid)

    def _take_over(self, process) -> bool:
        agents = self.world.queue.dispatchers.get(process.uuid)
        if agents is None or not agents.activated:
            return False
        return self._change(agents.deactivate)

    @rule(process=processes, claimed=st.booleans())
    def come_too_late(self, process, claimed):
        """A thread is about to commit when others take its job, and maybe begin it.

        Its process throws away what it did.
        """
        world = self.world
        worker = world.processes[process]
        worker.start_work()
        if not worker.workers:
            return
        thread = worker.workers[0]
        for _ in range(3):
            if thread.where in ("commit", HANGS):
                break
            worker.step(thread)
        (ticket,) = [r.ticket for r in worker.running(thread)] or [None]
        job = None if ticket is None else world.queue._p_jar.get(ticket.oid)
        if job is None or not self._take_over(worker):
            return
        if claimed:
            self.poll_to_the_end(1 - process)
        worker.finish(thread)
        world.tm.begin()
        if job.attempt != ticket.attempt:
            assert worker.report(ticket) == LOST, f"{job!r} came too late"

    # Others

    def _change(self, change) -> bool:
        """Do it in a transaction of somebody else; whether it worked."""
        world = self.world
        try:
            change()
            world.tm.commit()
        except TransactionError:
            world.tm.abort()
            return False
        return True

    @rule(index=st.integers(0, 30))
    def remove(self, index):
        waiting = list(self.world.queue)
        if not waiting:
            return
        self._remove(waiting[index % len(waiting)])

    def _remove(self, job):
        for accepted in self.world.accepted:
            if accepted.oid == job._p_oid:
                accepted.removed = self._change(lambda: self.world.queue.remove(job))

    @rule(index=st.integers(0, 30))
    def cancel(self, index):
        """Somebody cancels one that is not finished."""
        found = [job for a, job in self.world.jobs() if not a.removed]
        found = [job for job in found if job._status < 3]
        if found:
            self._cancel(found[index % len(found)])

    def _cancel(self, job):
        answers = []
        if self._change(lambda: answers.append(job.cancel("model"))):
            for accepted in self.world.accepted:
                if accepted.oid == job._p_oid:
                    accepted.answer = answers[0]

    @rule(process=processes, whole=st.booleans(), resume=st.booleans())
    def pause(self, process, whole, resume):
        """A queue or an agent is paused, or goes on."""
        paused = self.world.queue
        if not whole:
            uuid = self.world.processes[process].uuid
            agents = self.world.queue.dispatchers.get(uuid, {})
            if "main" not in agents:
                return
            paused = agents["main"]
        self._change(paused.resume if resume else lambda: paused.pause("model"))

    @rule(
        index=st.integers(0, 5),
        decision=st.sampled_from(["release", "mend", "discard", "remove", "cancel"]),
    )
    def decide(self, index, decision):
        """One that was set aside is let go on, or not."""
        world = self.world
        jobs = [job for job in world.queue.quarantine if job._status == 0]
        if not jobs:
            return
        job = jobs[index % len(jobs)]
        if decision == "discard":
            world.discard(job)
        elif decision == "remove":
            self._remove(job)
        elif decision == "cancel":
            self._cancel(job)
        else:
            world.release(job, decision == "mend")

    @rule(index=st.integers(0, 30))
    def add_callback(self, index):
        jobs = [job for _, job in self.world.jobs() if job._status < 3]
        if jobs:
            job = jobs[index % len(jobs)]
            self.count += 1
            ledger = self.world.connection.root()["ledger"]
            added = model.Job(model.effect, ledger, f"{self.count} added")
            self._change(lambda: job.addCallback(added))

    @rule(size=st.integers(1, 3))
    def resize(self, size):
        quota = self.world.queue.quotas[model.SIZED]
        allowed = self.world.allowed
        allowed[model.SIZED] = max(allowed[model.SIZED], size)
        self._change(lambda: setattr(quota, "size", size))

    @rule(index=st.integers(0, 5), fails=st.booleans())
    def fire(self, index, fails):
        self.world.fire(index, fails)

    @rule(process=processes, taste=st.sampled_from(model.TASTES))
    def prefer(self, process, taste):
        """An agent takes other jobs from now on."""
        filter, chooser = taste
        uuid = self.world.processes[process].uuid
        self.world.give_taste(uuid, filter=filter, chooser=chooser)

    @rule(hours=st.sampled_from([0, 0.5, 2]))
    def tidy(self, hours):
        self.world.pass_time(hours * 3600)
        queues = self.world.queue.parent
        if self._change(lambda: self.tidier.tidy(queues)):
            for producer in self.producers:
                producer.tidied = True

    @rule(seconds=st.sampled_from([0.01, 0.3, 2, 7]))
    def pass_time(self, seconds):
        self.world.pass_time(seconds)


QueueMachine.TestCase.settings = settings(
    max_examples=int(EXAMPLES or 60),
    stateful_step_count=50,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


TestQueueModel = QueueMachine.TestCase


@pytest.mark.skipif(bool(EXAMPLES), reason="as many examples as somebody wants")
def test_the_examples_came_to_all_that_they_are_for():
    if not reached:
        pytest.skip("there were no examples")
    assert reached >= set(GOALS), f"never reached: {set(GOALS) - reached}"
