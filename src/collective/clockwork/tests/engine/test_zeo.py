"""Several processes on one ZEO server: crashes, take-overs, lost connections."""

from __future__ import annotations

from collective.clockwork.engine.interfaces import ACTIVE
from collective.clockwork.engine.interfaces import DatabaseOpened
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.subscribers import multidb_queue_installer
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import deferring
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine import zeoprocess
from collective.clockwork.tests.engine.zeoprocess import PATIENCE
from collective.clockwork.tests.engine.zeostack import Stack
from datetime import timedelta
from persistent.list import PersistentList
from ZEO.Exceptions import ClientDisconnected

import transaction


def wait_until_begun(stack, times=1, name="begun"):
    wait_until(
        lambda: len(stack.pids(name)) >= times, f"beginning {times} times", PATIENCE
    )


def test_a_worker_runs_jobs_of_another_process(stack):
    worker = stack.worker()
    counter = stack.root["counter"]
    job = stack.queue.put(counter.add)
    pid = stack.queue.put(zeoprocess.process_id)
    transaction.commit()
    assert stack.result(job) == 1
    assert counter.count == 1
    assert stack.result(pid) == worker.process.pid


def test_effects_and_completion_appear_together(stack):
    stack.worker()
    counters = stack.root["counters"] = PersistentList(
        work.Counter() for _ in range(50)
    )
    jobs = [stack.queue.put(counter.add) for counter in counters]
    transaction.commit()

    def all_done():
        transaction.begin()
        done = [job.status == "completed-status" for job in jobs]
        assert [counter.count == 1 for counter in counters] == done
        return all(done)

    wait_until(all_done, "completing all", PATIENCE)


def test_a_killed_worker_takes_its_own_jobs_back_at_once_when_it_is_started(stack):
    counter = stack.root["counter"]
    killed = stack.worker()
    job = stack.put_behind_gate(counter)
    transaction.commit()
    wait_until_begun(stack)
    killed.kill()
    again = stack.worker(uuid=killed.uuid)
    wait_until_begun(stack, 2)
    stack.file("gate").touch()
    assert stack.result(job) == 1
    assert counter.count == 1
    assert stack.pids("begun") == [str(killed.process.pid), str(again.process.pid)]


def test_a_killed_worker_loses_its_deferreds_and_begins_their_jobs_again(stack):
    counter = stack.root["counter"]
    killed = stack.worker()
    marker = str(stack.file("first"))
    job = stack.queue.put(Job(deferring.count_and_fire_the_second, counter, marker))
    transaction.commit()

    def is_deferred():
        transaction.begin()
        return counter.count == 1 and job.status == ACTIVE

    wait_until(is_deferred, "returning the Deferred", PATIENCE)
    killed.kill()
    stack.worker(uuid=killed.uuid)
    assert stack.result(job) == "second"
    assert counter.count == 2
    assert job.getRetryPolicy().data["interruptions"] == 1


def test_jobs_of_a_killed_worker_are_taken_over_by_another(stack):
    counter = stack.root["counter"]
    killed = stack.worker()
    job = stack.put_behind_gate(counter)
    transaction.commit()
    wait_until_begun(stack)
    other = stack.worker()
    transaction.begin()
    for agents in stack.queue.dispatchers.values():
        agents.ping_interval = timedelta(seconds=0.2)
    stack.queue.dispatchers[killed.uuid].ping_death_interval = timedelta(seconds=1)
    transaction.commit()
    killed.kill()
    wait_until_begun(stack, 2)
    stack.file("gate").touch()
    assert stack.result(job) == 1
    assert counter.count == 1
    assert stack.pids("begun")[1] == str(other.process.pid)
    assert stack.queue.dispatchers[killed.uuid].activated is None
    assert f"dispatcher {killed.uuid} is silent" in other.said()


def test_a_worker_that_is_stopped_gives_unfinished_jobs_back(stack):
    counter = stack.root["counter"]
    worker = stack.worker(threads=1, grace=0.2)
    running = stack.put_behind_gate(counter)
    waiting = [stack.queue.put(Job(work.mirror, number)) for number in range(5)]
    transaction.commit()
    wait_until_begun(stack)
    assert worker.stop() == 0
    transaction.begin()
    assert list(stack.queue) == [running, *waiting]
    assert stack.queue.dispatchers[worker.uuid].activated is None
    stack.file("gate").touch()
    stack.worker()
    assert stack.result(running) == 1
    assert [stack.result(job) for job in waiting] == list(range(5))


def test_a_worker_says_once_that_zeo_is_away_and_continues_when_it_is_back(stack):
    worker = stack.worker(poll_interval=0.1)
    stack.server.process.stop()
    wait_until(lambda: "the storage is away" in worker.said(), "notice", PATIENCE)
    stack.server.start()
    wait_until(lambda: "the storage is back" in worker.said(), "return", PATIENCE)
    job = wait_until(lambda: put_as_soon_as_possible(stack), "a put", PATIENCE)
    assert stack.result(job) == 42
    assert worker.said().count("the storage is away") == 1
    assert worker.process.poll() is None


def put_as_soon_as_possible(stack):
    try:
        transaction.begin()
        job = stack.queue.put(work.answer)
        transaction.commit()
    except ClientDisconnected:
        transaction.abort()
        return None
    return job


def test_producers_meet_no_conflict_while_workers_run_the_jobs(stack):
    stack.worker(threads=2)
    stack.worker(threads=2)
    producers = [stack.producer(puts=150) for _ in range(4)]
    for producer in producers:
        assert producer.wait() == 0, producer.said()
        assert "conflicts: 0" in producer.said()

    def all_finished():
        transaction.begin()
        return 600 == sum(
            len(agents["main"].completed) for agents in stack.queue.dispatchers.values()
        )

    wait_until(all_finished, "completing all", PATIENCE)
    assert len(stack.queue) == 0


def test_two_workers_keep_the_order_in_a_quota_of_size_one(stack):
    queue = stack.queue
    queue.quotas.create("one", size=1)
    ledger = stack.root["ledger"] = work.Ledger()
    transaction.commit()
    stack.worker()
    stack.worker()
    jobs = []
    for number in range(60):
        job = Job(zeoprocess.note_in_order, ledger, number)
        job.quota_names = ("one",)
        jobs.append(queue.put(job))
        if number % 4 == 3:
            transaction.commit()
    for job in jobs:
        assert stack.result(job) is None
    assert [ledger[position] for position in range(60)] == list(range(60))


def test_queues_in_another_database_than_the_content(tmp_path, components):
    stack = Stack(tmp_path, ["main", "async"])
    try:
        multidb_queue_installer(DatabaseOpened(stack.db))
        stack.open()
        counter = stack.root["counter"] = work.Counter()
        transaction.commit()
        assert stack.queue._p_jar.db().database_name == "async"
        # One that looks by itself would hide that nothing wakes it.
        worker = stack.worker(threads=1, poll_interval=3600)
        jobs = [stack.queue.put(counter.add) for _ in range(10)]
        failing = stack.queue.put(counter.add_and_fail)
        transaction.commit()
        assert sorted(stack.result(job) for job in jobs) == list(range(1, 11))
        assert stack.result(failing).check(ValueError)
        transaction.begin()
        assert counter.count == 10
        assert jobs[0]._p_jar.db().database_name == "async"
        assert counter._p_jar.db().database_name == "main"
        assert worker.stop() == 0, worker.said()
    finally:
        stack.close()


def test_a_queue_that_is_added_later_is_served_by_workers_elsewhere(stack):
    stack.worker()
    transaction.begin()
    queue = stack.root[KEY]["later"] = Queue()
    job = queue.put(work.answer)
    transaction.commit()
    assert stack.result(job) == 42
