"""What must not stop a worker, lose a job, or let two of them land one."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.attempt import DONE
from collective.clockwork.engine.claims import Claim
from collective.clockwork.engine.compose import parallel
from collective.clockwork.engine.failure import isFailure
from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.interfaces import ReassignedError
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.run import run_claimed
from collective.clockwork.engine.sweeping import sweep
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.engine.tidy import Tidier
from collective.clockwork.tests.engine import sickwork
from collective.clockwork.tests.engine import work
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from uuid import uuid4
from ZEO.Exceptions import ClientDisconnected
from ZODB.POSException import ConflictError

import pytest
import transaction


def add_agent(queue, size=3):
    """A dispatcher's entry with one agent, activated by hand."""
    agents = queue.dispatchers.register(uuid4())
    agents["main"] = Agent(size=size)
    agents.activate("by hand")
    transaction.commit()
    return agents["main"]


def claim_one(queue, agent):
    run = Claim(queue, agent.accepts, 1, clock.now_us()).take()[0]
    agent.hold(run)
    return run[0]


def conn_queue(connection):
    return connection.root()[KEY][""]


def station_of(dispatcher):
    return wait_until(lambda: list(dispatcher.stations.values()), "a station")[0]


def test_a_claim_whose_answer_was_lost_is_given_back(
    db, queue, start_dispatcher, monkeypatch
):
    dispatcher = start_dispatcher(poll_interval=0.1)
    station = station_of(dispatcher)
    lost = []
    original = type(station.pool).submit

    def submit(pool, runs, *rest):
        if not lost:
            lost.append(runs)
            raise ClientDisconnected("the answer was lost")
        original(pool, runs, *rest)

    monkeypatch.setattr(type(station.pool), "submit", submit)
    job = queue.put(work.answer)
    transaction.commit()
    assert wait_for_result(job) == 42
    assert lost


def test_a_job_that_cannot_be_read_holds_up_nobody(db, queue, monkeypatch):
    sick = queue.put(Job(work.mirror, sickwork.Touchy()))
    well = queue.put(work.answer)
    transaction.commit()
    monkeypatch.setattr(sickwork.Touchy, "spoilt", True)
    db.cacheMinimize()
    drain(db)
    transaction.begin()
    assert well.status == COMPLETED
    assert queue.schedule.length == 1
    monkeypatch.setattr(sickwork.Touchy, "spoilt", False)
    clock.freeze(clock.now() + timedelta(hours=1))
    drain(db)
    transaction.begin()
    assert sick.status == COMPLETED


def test_a_filter_that_raises_stops_only_its_own_agent(db, queue, start_dispatcher):
    dispatcher = start_dispatcher(poll_interval=0.1)
    station_of(dispatcher)
    transaction.begin()
    agents = queue.dispatchers[dispatcher.UUID]
    agents["a sick one"] = Agent(filter=sickwork.boom_of)
    transaction.commit()
    wait_until(lambda: len(dispatcher.stations) == 2, "a second station")
    job = queue.put(work.answer)
    transaction.commit()
    assert wait_for_result(job) == 42


@pytest.mark.parametrize(
    "function", [sickwork.commit_and_fail, sickwork.commit_and_conflict]
)
def test_a_job_that_commits_in_the_middle_and_then_fails_has_failed(
    function, db, root, queue
):
    root["counter"] = work.Counter()
    job = queue.put(Job(function, root["counter"]))
    told = job.addCallback(work.mirror)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert isFailure(job.result)
    assert told.status == COMPLETED
    assert not list(queue.waiting)


def test_a_job_that_commits_in_the_middle_and_succeeds_is_done(db, root, queue):
    root["counter"] = work.Counter()
    job = queue.put(Job(sickwork.commit_twice, root["counter"]))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result == "done"
    assert root["counter"].count == 2


def test_a_policy_that_cannot_be_made_ends_no_thread(db, queue):
    job = Job(work.boom)
    job.retry_policy_factory = "there is none of this name"
    queue.put(job)
    other = queue.put(work.answer)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert isFailure(job.result)
    assert other.result == 42


def test_a_policy_that_raises_means_no_retry(db, queue):
    job = Job(work.boom)
    job.retry_policy_factory = sickwork.RaisingPolicy
    queue.put(job)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result.check(ValueError)


def test_a_hook_that_raises_keeps_no_job_from_ending(db, queue):
    late = sickwork.Hooked(work.answer)
    queue.put(late, begin_by=timedelta())
    plain = sickwork.Hooked(work.answer)
    queue.put(plain)
    transaction.commit()
    clock.freeze(clock.now() + timedelta(minutes=1))
    drain(db)
    transaction.begin()
    assert isFailure(late.result)
    assert plain.result == 42


def test_a_job_that_returns_a_finished_job_takes_its_result(db, queue):
    finished = queue.put(work.answer)
    transaction.commit()
    drain(db)
    transaction.begin()
    job = queue.put(Job(work.mirror, finished))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result == 42
    assert not list(queue.waiting)


def test_never_is_not_before_now(db, queue):
    never = queue.put(
        work.answer, begin_after=datetime.max.replace(tzinfo=timezone.utc)
    )
    soon = queue.put(work.answer, begin_after=clock.now() + timedelta(minutes=1))
    transaction.commit()
    drain(db)
    clock.freeze(clock.now() + timedelta(minutes=2))
    drain(db)
    transaction.begin()
    assert soon.status == COMPLETED
    assert never.status == "pending-status"
    assert never.begin_after.year == 9999


def test_a_busy_worker_does_not_spin_on_a_held_job(queue, start_dispatcher):
    dispatcher = start_dispatcher(poll_interval=30)
    station = station_of(dispatcher)
    queue.put(work.answer, begin_after=clock.now() + timedelta(seconds=1))
    transaction.commit()
    wait_until(lambda: station._due is not None, "seeing the held job")
    for number in range(3):
        queue.put(Job(work.pass_gate, f"busy {number}"))
    transaction.commit()
    for number in range(3):
        assert work.gate(f"busy {number} begun").wait(10)
    wait_until(lambda: station._due < clock.now_us(), "its time")
    assert station._wait() > 0


def test_a_worker_thread_survives_a_database_that_does_not_let_it_begin(
    queue, start_dispatcher, monkeypatch
):
    dispatcher = start_dispatcher(poll_interval=0.1)
    pool = station_of(dispatcher).pool
    original = type(pool)._perform_job
    failed = []

    def perform(self, connection, ticket, *rest):
        if not failed:
            failed.append(ticket)
            raise RuntimeError("no transaction can be begun")
        return original(self, connection, ticket, *rest)

    monkeypatch.setattr(type(pool), "_perform_job", perform)
    job = queue.put(work.answer)
    transaction.commit()
    assert wait_for_result(job) == 42
    assert failed
    assert all(thread.is_alive() for thread in pool.threads)


@pytest.mark.parametrize("options", [{}, {"begin_by": timedelta()}])
def test_what_was_taken_back_is_neither_begun_nor_failed_as_expired(
    queue, elsewhere, options
):
    agent = add_agent(queue)
    queue.put(work.answer, **options)
    transaction.commit()
    clock.freeze(clock.now() + timedelta(minutes=1))
    job, attempt, _key = claim_one(queue, agent)
    transaction.commit()
    conn = elsewhere()
    conn_queue(conn).dispatchers[agent.parent.UUID].deactivate()
    conn.transaction_manager.commit()
    transaction.begin()
    with pytest.raises(ReassignedError):
        run_claimed(job, attempt, agent)
    transaction.begin()
    assert job.status == "pending-status"


def test_a_claim_and_the_take_over_of_its_idle_dispatcher_exclude_each_other(
    queue, elsewhere
):
    agent = add_agent(queue)
    queue.put(work.answer)
    transaction.commit()
    conn = elsewhere()
    conn_queue(conn).dispatchers[agent.parent.UUID].deactivate()
    claim_one(queue, agent)
    transaction.commit()
    with pytest.raises(ConflictError):
        conn.transaction_manager.commit()


def test_a_late_report_of_an_earlier_attempt_counts_for_nothing(queue):
    agent = add_agent(queue)
    job = queue.put(work.answer)
    transaction.commit()
    _job, attempt, _key = claim_one(queue, agent)
    transaction.commit()
    stale = (job._p_oid, "unnamed", attempt - 1)
    sweep(queue, agent, {stale: "lost"}, [], clock.now_us())
    assert list(agent) == [job]


def test_an_outer_job_that_ends_while_it_is_noted_as_waiting_is_not_forgotten(
    queue, elsewhere
):
    agent = add_agent(queue)
    inner = Job(work.answer)
    outer = queue.put(Job(work.mirror, inner))
    transaction.commit()
    _job, attempt, _key = claim_one(queue, agent)
    transaction.commit()
    transaction.begin()
    outer.wait_for(inner)
    transaction.commit()
    conn = elsewhere()
    other = conn.get(outer._p_oid)
    other.settle(42)
    reports = {(outer._p_oid, "unnamed", attempt): "waiting"}
    sweep(queue, agent, reports, [], clock.now_us())
    conn.transaction_manager.commit()
    with pytest.raises(ConflictError):
        transaction.commit()
    transaction.begin()
    sweep(queue, agent, reports, [], clock.now_us())
    assert list(agent.completed) == [outer]
    assert not list(queue.waiting)


def test_finished_jobs_are_not_lost_with_a_chunk_that_is_dropped(queue, elsewhere):
    agent = add_agent(queue)
    old, new = queue.put(work.answer), queue.put(work.answer)
    agent.completed.add(old)
    transaction.commit()
    conn = elsewhere()
    conn.get(agent._p_oid).completed.remove(conn.get(old._p_oid))
    agent.completed.add(new)
    transaction.commit()
    with pytest.raises(ConflictError):
        conn.transaction_manager.commit()


def test_a_lent_place_is_for_one_at_a_time(queue, start_dispatcher):
    queue.quotas.create("one")
    members = [Job(work.pass_gate, f"member {number}") for number in range(3)]
    for member in members:
        member.quota_names = ("one",)
    batch = parallel(*members)
    batch.quota_names = ("one",)
    queue.put(batch)
    transaction.commit()
    start_dispatcher()
    names = [f"member {number}" for number in range(3)]
    for _ in members:
        wait_until(
            lambda: any(work.gate(f"{name} begun").is_set() for name in names),
            "beginning a member",
        )
        (begun,) = [name for name in names if work.gate(f"{name} begun").is_set()]
        work.gate(begun).set()
        names.remove(begun)
    assert len(wait_for_result(batch)) == 3


def test_a_job_that_another_waits_for_cannot_be_removed(db, queue):
    outer = queue.put(Job(work.put_and_return, work.pass_gate, "never"))
    transaction.commit()
    agent = add_agent(queue)
    job, attempt, _key = claim_one(queue, agent)
    transaction.commit()
    transaction.begin()
    run_claimed(job, attempt, agent)
    transaction.begin()
    inner = outer.result
    with pytest.raises(ValueError, match="waits for"):
        queue.remove(inner)


def test_an_inner_job_gets_its_lane_also_when_it_was_not_read_yet(db, queue):
    queue.quotas.create("one")
    inner = Job(work.answer)
    inner.quota_names = ("one",)
    outer = Job(work.mirror, inner)
    outer.quota_names = ("one",)
    queue.put(outer)
    queue.put(inner)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert outer.result == 42


def test_closing_an_intake_conflicts_with_whoever_reads_on(queue, elsewhere):
    queue.put(work.answer)
    transaction.commit()
    (name,) = set(queue.intakes.by_name) - set(queue.intakes.stock)
    conn = elsewhere()
    conn_queue(conn).intakes.remove(name)
    queue.claim()
    transaction.commit()
    with pytest.raises(ConflictError):
        conn.transaction_manager.commit()


def test_notes_that_came_too_late_are_dropped(queue):
    agent = add_agent(queue)
    agent.live[12345] = work.Counter()
    Tidier().tidy(queue.parent)
    assert not agent.live


def test_a_done_report_is_believed(queue):
    agent = add_agent(queue)
    queue.put(work.answer)
    transaction.commit()
    job, attempt, _key = claim_one(queue, agent)
    transaction.commit()
    run_claimed(job, attempt, agent)
    reports = {(job._p_oid, "unnamed", attempt): DONE}
    transaction.begin()
    sweep(queue, agent, reports, [], clock.now_us())
    assert list(agent.completed) == [job]
    assert not len(agent)
