"""Jobs that change hands: stops, second processes, and wrong obituaries."""

from __future__ import annotations

from collective.clockwork.engine import dispatcher as registry
from collective.clockwork.engine.compose import parallel
from collective.clockwork.engine.compose import serial
from collective.clockwork.engine.interfaces import IDispatcherReactivated
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import tear_down_dispatcher
from collective.clockwork.engine.testing import TearDownDispatcherError
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.dispatching import agents_of
from collective.clockwork.tests.engine.dispatching import join
from collective.clockwork.tests.engine.dispatching import NEVER
from collective.clockwork.tests.engine.dispatching import pool_of
from collective.clockwork.tests.engine.dispatching import wait_for_agents
from collective.clockwork.tests.engine.dispatching import wait_until_begun
from zope.component import adapter
from zope.component import provideHandler

import logging
import pytest
import transaction


def count_behind_gate(counter, name):
    work.pass_gate(name)
    return counter.add()


def sum_of(*jobs):
    return sum(job.result for job in jobs)


# Who works under a UUID, and who is dead


def test_one_that_was_wrongly_taken_for_dead_comes_back(
    db, queue, start_dispatcher, caplog
):
    back = []
    handler = adapter(IDispatcherReactivated)(lambda event: back.append(event.object))
    provideHandler(handler)
    dispatcher = start_dispatcher(poll_interval=NEVER)
    agents = wait_for_agents(queue, dispatcher)
    agents.deactivate()
    job = queue.put(work.answer)
    transaction.commit()
    assert wait_for_result(job) == 42
    assert [agents.UUID for agents in back] == [dispatcher.UUID]
    assert "was taken for dead, and is back" in caplog.text


def test_work_of_one_that_was_taken_for_dead_lands_once(
    db, counter, queue, start_dispatcher, caplog
):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    job = queue.put(Job(count_behind_gate, counter, "slow"))
    transaction.commit()
    wait_until_begun("slow")
    work.gate("slow begun").clear()
    # As another dispatcher would do it.
    agents_of(queue, dispatcher).deactivate()
    transaction.commit()
    # It is run again while the first run still waits.
    wait_until_begun("slow")
    work.gate("slow").set()
    assert wait_for_result(job) == 1
    wait_until(lambda: "its work here is thrown away" in caplog.text, "the log entry")
    transaction.begin()
    assert counter.count == 1


def test_a_new_process_takes_over_the_jobs_of_its_uuid_and_the_old_one_stops(
    db, counter, queue, start_dispatcher, caplog
):
    caplog.set_level(logging.INFO, "collective.clockwork.engine.events")
    first = start_dispatcher(poll_interval=NEVER)
    job = queue.put(Job(count_behind_gate, counter, "slow"))
    transaction.commit()
    wait_until_begun("slow")
    work.gate("slow begun").clear()
    # What another process would not know of either.
    registry.pop(first.UUID)
    start_dispatcher(uuid=first.UUID, poll_interval=NEVER)
    wait_until_begun("slow")
    wait_until(
        lambda: "another process works in queue '' under our UUID" in caplog.text,
        "the first one's complaint",
    )
    work.gate("slow").set()
    assert wait_for_result(job) == 1
    wait_until(lambda: "its work here is thrown away" in caplog.text, "the log entry")
    transaction.begin()
    assert counter.count == 1
    assert "taking over from an earlier process" in caplog.text


def test_the_complaint_about_a_second_process_comes_once(
    db, queue, start_dispatcher, caplog
):
    first = start_dispatcher(poll_interval=NEVER)
    wait_for_agents(queue, first)
    registry.pop(first.UUID)
    start_dispatcher(uuid=first.UUID, poll_interval=NEVER)
    for _ in range(5):
        job = queue.put(work.answer)
        transaction.commit()
        assert wait_for_result(job) == 42
    wait_until(lambda: "under our UUID" in caplog.text, "the complaint")
    assert caplog.text.count("under our UUID") == 1


# Stopping while jobs run


def test_a_job_that_outlives_the_grace_is_interrupted_and_never_lands_late(
    db, counter, queue, start_dispatcher, caplog
):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    job = queue.put(Job(count_behind_gate, counter, "slow"))
    transaction.commit()
    wait_until_begun("slow")
    threads = list(pool_of(dispatcher).threads)
    with pytest.raises(TearDownDispatcherError, match="clockwork--main"):
        tear_down_dispatcher(dispatcher, grace=0.1)
    transaction.begin()
    assert job.status == "pending-status"
    work.gate("slow").set()
    join(threads)
    transaction.begin()
    assert counter.count == 0
    assert job.status == "pending-status"
    start_dispatcher(poll_interval=NEVER)
    assert wait_for_result(job) == 1


def test_jobs_that_were_not_finished_go_back_in_their_order(
    db, queue, start_dispatcher
):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    wait_for_agents(queue, dispatcher)
    long = [queue.put(Job(work.pass_gate, f"long {number}")) for number in range(3)]
    waiting = [queue.put(Job(work.mirror, number)) for number in range(10)]
    transaction.commit()
    for number in range(3):
        wait_until_begun(f"long {number}")
    threads = list(pool_of(dispatcher).threads)
    with pytest.raises(TearDownDispatcherError):
        tear_down_dispatcher(dispatcher, grace=0.1)
    transaction.begin()
    assert list(queue) == [*long, *waiting]
    for number in range(3):
        work.gate(f"long {number}").set()
    join(threads)
    start_dispatcher(poll_interval=NEVER)
    assert [wait_for_result(job) for job in waiting] == list(range(10))


@pytest.mark.parametrize("compose", [serial, parallel])
def test_a_composed_job_survives_stops_in_its_parts_and_in_its_end(
    compose, db, queue, start_dispatcher
):
    def stop_while(name, dispatcher):
        wait_until_begun(name)
        threads = list(pool_of(dispatcher).threads)
        with pytest.raises(TearDownDispatcherError):
            tear_down_dispatcher(dispatcher, grace=0.05)
        work.gate(f"{name} begun").clear()
        work.gate(name).set()
        join(threads)

    dispatcher = start_dispatcher(poll_interval=NEVER)
    job = queue.put(
        compose(
            Job(work.answer),
            Job(forty_two_behind_gate, "part"),
            postprocess=Job(sum_behind_gate, "end"),
        )
    )
    transaction.commit()
    stop_while("part", dispatcher)
    dispatcher = start_dispatcher(poll_interval=NEVER)
    stop_while("end", dispatcher)
    start_dispatcher(poll_interval=NEVER)
    assert wait_for_result(job) == 84


def forty_two_behind_gate(name):
    work.pass_gate(name)
    return 42


def sum_behind_gate(name, *jobs):
    work.pass_gate(name)
    return sum_of(*jobs)
