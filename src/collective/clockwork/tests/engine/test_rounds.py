"""A filter that refuses much: what a claim looks at, and what it finds in the end."""

from __future__ import annotations

from collective.clockwork.engine import claims
from collective.clockwork.engine import clock
from collective.clockwork.engine.claims import Claim
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.rounds import Rounds
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.dispatching import NEVER
from collective.clockwork.tests.engine.dispatching import wait_for_agents

import pytest
import transaction


def refuse(job):
    return False


def is_thirty(job):
    return job.args == [30]


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch):
    monkeypatch.setattr(claims, "REFUSED_AT_ONCE", 5)


class Worker:
    """Claims with a filter, and remembers what it was asked about."""

    def __init__(self, queue, accepted=()):
        self.queue = queue
        self.accepted = set(accepted)
        self.rounds = Rounds()
        self.asked = []
        self.more = False

    def _accepts(self, job):
        self.asked.append(job.args[0])
        return job.args[0] in self.accepted

    def claim(self, limit=1):
        self.asked = []
        claim = Claim(
            self.queue, self._accepts, limit, clock.now_us(), 1, rounds=self.rounds
        )
        found = [entry[0] for run in claim.take() for entry in run]
        self.more = claim.more
        for job in found:
            # So that it can be called by hand.
            job.parent = None
        transaction.commit()
        return found


@pytest.fixture
def put(queue):
    """Puts jobs that mirror a number, each in a transaction of its own."""
    queue.quotas.create("one")

    def put_some(*numbers, quotas=("one",)):
        jobs = []
        for number in numbers:
            job = Job(work.mirror, number)
            job.quota_names = quotas
            jobs.append(queue.put(job))
            transaction.commit()
        return jobs

    return put_some


@pytest.fixture
def worker(queue, put):
    """A worker that has seen what is put here, and takes nothing so far."""

    def make(*numbers, quotas=("one",), accepted=()):
        jobs = put(*numbers, quotas=quotas)
        # To the lane, by somebody else.
        Claim(queue, lambda job: False, 1, clock.now_us()).take()
        transaction.commit()
        return Worker(queue, accepted), jobs

    return make


@pytest.mark.parametrize("quotas", [(), ("one",)])
def test_a_claim_goes_on_behind_what_was_refused(worker, quotas):
    taker, _jobs = worker(*range(12), quotas=quotas)
    seen = []
    for count, more in [(5, True), (5, True), (2, False), (5, True)]:
        assert taker.claim() == []
        assert (len(taker.asked), taker.more) == (count, more)
        seen.extend(taker.asked)
    assert seen == [*range(12), *range(5)]


def test_what_is_far_behind_is_found_in_the_end(worker):
    taker, jobs = worker(*range(12), accepted=[11])
    assert taker.claim() == taker.claim() == []
    assert taker.claim() == [jobs[11]]
    assert taker.asked == [10, 11]


def test_many_jobs_are_not_even_loaded(queue, worker):
    taker, jobs = worker(*range(100))
    queue._p_jar.cacheMinimize()
    taker.claim()
    loaded = [job for job in jobs if job._p_changed is not None]
    assert len(loaded) == 5


def test_jobs_that_arrive_do_not_overtake_those_not_looked_at(worker, put):
    taker, jobs = worker(*range(7), accepted=[6, 99])
    (late,) = put(99)
    assert taker.claim() == []
    assert taker.asked == [0, 1, 2, 3, 4]
    assert taker.claim() == [jobs[6]]
    jobs[6]()
    assert taker.claim() == [late]


def test_jobs_of_other_quotas_are_not_held_up(worker, put):
    taker, _jobs = worker(*range(7), accepted=[99])
    (free,) = put(99, quotas=())
    assert taker.claim() == [free]


def test_a_job_of_two_quotas_waits_for_those_not_looked_at(queue, worker, put):
    queue.quotas.create("two")
    taker, jobs = worker(*range(7), accepted=[6, 99])
    (late,) = put(99, quotas=("one", "two"))
    assert taker.claim() == []
    assert taker.claim() == [jobs[6]]
    jobs[6]()
    # That one had come to the end of its lane.
    assert taker.claim() == []
    assert taker.claim() == [late]


def test_a_job_that_is_given_back_comes_before_those_behind_it(queue, worker):
    taker, jobs = worker(*range(20), accepted=[1, 19])
    (taken,) = taker.claim()
    assert taken is jobs[1]
    # Another worker has it now, and this one looks at what is behind.
    queue.quotas["one"].discard([taken])
    assert taker.claim() == taker.claim() == []
    queue.putBack(taken)
    transaction.commit()
    assert taker.claim() == [taken]


def test_a_claim_that_took_something_leaves_out_nothing(worker):
    taker, jobs = worker(0, 1, 2, 3, 4, 5, 6, quotas=(), accepted=[2])
    assert taker.claim(limit=3) == [jobs[2]]
    assert taker.asked == [0, 1, 2, 3, 4, 5]
    taker.accepted = {3}
    assert taker.claim() == [jobs[3]]


def test_a_new_filter_begins_in_front(worker):
    taker, jobs = worker(*range(12), accepted=[11])
    assert taker.claim() == taker.claim() == []
    taker.rounds.use(None)
    assert taker.rounds.start(taker.queue.lanes[("one",)]) is not None
    taker.rounds.use(refuse)
    taker.accepted = {0, 11}
    assert taker.claim() == [jobs[0]]


def test_without_a_memory_all_is_looked_at(queue, worker):
    _taker, jobs = worker(*range(20))
    assert queue.claim(lambda job: job.args[0] == 19) is jobs[19]


def test_a_dispatcher_goes_on_by_itself(queue, start_dispatcher):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    wait_for_agents(queue, dispatcher)
    agent = queue.dispatchers[dispatcher.UUID]["main"]
    agent.filter = refuse
    jobs = [queue.put(Job(work.mirror, number)) for number in range(31)]
    transaction.commit()
    lane = queue.lanes[()]
    wait_until(lambda: lane.length == len(jobs), "a look", begin=transaction.begin)
    agent.filter = is_thirty
    transaction.commit()
    assert wait_for_result(jobs[-1]) == 30
