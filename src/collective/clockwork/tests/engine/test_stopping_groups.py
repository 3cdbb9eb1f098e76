"""Workers that are asked to stop in the middle of a group of jobs."""

from __future__ import annotations

from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import grouping
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.dispatching import join
from collective.clockwork.tests.engine.dispatching import pool_of
from collective.clockwork.tests.engine.dispatching import wait_until_begun
from collective.clockwork.tests.engine.zeoprocess import PATIENCE
from persistent.list import PersistentList

import pytest
import transaction


#: Jobs: more than fit into a group, and the one at which the group waits.
SIZE = 40
HALF = 20


class Halted:
    """A worker with one thread, which is in the middle of a group."""

    def __init__(self, stack, grace: float):
        self.stack = stack
        self.worker = self.start(grace)
        self.teach()
        counters = stack.root["counters"] = PersistentList(
            work.Counter() for _ in range(SIZE)
        )
        self.counters = list(counters)
        self.jobs = [self.put(number) for number in range(SIZE)]
        transaction.commit()
        wait_until(lambda: len(self.calls()) > HALF, "the middle", PATIENCE)

    def start(self, grace=5.0):
        return self.stack.worker(threads=1, grace=grace, program=grouping.PROGRAM)

    def teach(self):
        """Let the worker run a job, so that it knows how short they are."""
        first = self.stack.queue.put(Job(work.nothing))
        transaction.commit()
        self.stack.result(first)
        agent = self.stack.queue.dispatchers[self.worker.uuid]["main"]
        wait_until(lambda: is_filed(agent), "filing it", PATIENCE)

    def put(self, number):
        path, gate = self.stack.file("calls"), None
        if number == HALF:
            gate = str(self.stack.file("gate"))
        job = Job(
            grouping.count_and_say, self.counters[number], str(path), number, gate
        )
        return self.stack.queue.put(job, groupable=True)

    def open_gate(self):
        self.stack.file("gate").touch()

    def calls(self, worker=None) -> list[int]:
        """Numbers of the jobs that were called, by this worker or by any."""
        said = [call.split(":") for call in self.stack.pids("calls")]
        return [
            int(number)
            for pid, number in said
            if worker is None or pid == str(worker.process.pid)
        ]

    def done(self) -> list[int]:
        """Numbers of the jobs that are done; each has its effect, once."""
        transaction.begin()
        done = [job.status == COMPLETED for job in self.jobs]
        assert [counter.count for counter in self.counters] == done
        return [number for number, is_done in enumerate(done) if is_done]

    def waiting(self) -> list[int]:
        """Numbers of those that wait, in their order."""
        transaction.begin()
        return [self.jobs.index(job) for job in self.stack.queue]

    def assert_all_done(self):
        assert [self.stack.result(job) for job in self.jobs] == [1] * SIZE
        assert self.done() == list(range(SIZE))


def is_filed(agent) -> bool:
    transaction.begin()
    return len(agent.completed) == 1


REACHED, BEHIND = list(range(HALF + 1)), list(range(HALF + 1, SIZE))


def test_a_group_that_ends_in_time_is_committed_and_the_rest_goes_back(stack):
    halted = Halted(stack, grace=PATIENCE)
    halted.worker.process.terminate()
    wait_until(lambda: halted.waiting() == BEHIND, "giving back", PATIENCE)
    assert halted.done() == []
    halted.open_gate()
    assert halted.worker.wait() == 0, halted.worker.said()
    assert halted.done() == halted.calls() == REACHED
    assert len(grouping.commits_of(halted.jobs[: HALF + 1])) == 1
    assert halted.waiting() == BEHIND
    second = halted.start()
    halted.assert_all_done()
    assert halted.calls(second) == BEHIND
    assert halted.calls(halted.worker) == REACHED


def test_what_it_had_not_begun_is_run_by_another_before_it_has_stopped(stack):
    halted = Halted(stack, grace=PATIENCE)
    other = halted.start()
    halted.worker.process.terminate()
    wait_until(lambda: halted.done() == BEHIND, "doing the rest", PATIENCE)
    assert halted.worker.process.poll() is None
    halted.open_gate()
    assert halted.worker.wait() == 0, halted.worker.said()
    halted.assert_all_done()
    assert halted.calls(other) == BEHIND
    assert halted.calls(halted.worker) == REACHED


@pytest.mark.parametrize("is_other_alive", [False, True])
def test_a_group_that_takes_too_long_goes_back_whole(stack, is_other_alive):
    halted = Halted(stack, grace=0.2)
    if is_other_alive:
        other = halted.start()
    assert halted.worker.stop() == 0, halted.worker.said()
    if not is_other_alive:
        assert halted.done() == []
        assert halted.waiting() == list(range(SIZE))
        other = halted.start()
    halted.open_gate()
    halted.assert_all_done()
    # What the first one called has left nothing.
    assert sorted(halted.calls(other)) == list(range(SIZE))
    assert halted.calls(halted.worker) == REACHED
    assert not any(job.deaths for job in halted.jobs)


def test_a_group_that_ends_after_it_went_back_commits_nothing(
    queue, ledger, start_dispatcher, monkeypatch
):
    grouping.be_patient(monkeypatch.setattr)
    made = grouping.start_ready(queue, start_dispatcher)
    (thread,) = pool_of(made).threads
    functions = [grouping.note, grouping.note_behind_gate, grouping.note]
    jobs = [
        queue.put(Job(function, ledger, str(number)), groupable=True)
        for number, function in enumerate(functions)
    ]
    transaction.commit()
    wait_until_begun("1")
    made.deactivate(grace=0.1)
    transaction.begin()
    assert list(queue) == jobs
    work.gate("1").set()
    join([thread])
    transaction.begin()
    assert list(queue) == jobs
    assert list(ledger) == []
    assert work.calls == {"0": 1, "1": 1}, "the last one was not begun"
    start_dispatcher()
    assert grouping.finish(*jobs) == sorted(grouping.names(ledger)) == ["0", "1", "2"]
