"""What running jobs are told, and tell, while their worker stops."""

from __future__ import annotations

from collective.clockwork.engine import cancelling
from collective.clockwork.engine import context
from collective.clockwork.engine import local
from collective.clockwork.engine import progress
from collective.clockwork.engine import station
from collective.clockwork.engine.errors import JobTimeoutError
from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import deferring
from collective.clockwork.tests.engine import stopping
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.cancelled import assert_cancelled
from collective.clockwork.tests.engine.cancelled import cancel
from collective.clockwork.tests.engine.dispatching import NEVER
from collective.clockwork.tests.engine.dispatching import pool_of
from collective.clockwork.tests.engine.dispatching import wait_until_begun
from collective.clockwork.tests.engine.stopping import PATIENCE
from datetime import timedelta

import pytest
import threading
import transaction


SOON = timedelta(milliseconds=100)


def report_when_stopping(name):
    """Says how far it is, once its worker stops."""
    work.gate(f"{name} begun").set()
    wait_until(lambda: local.control.is_stopping, "the stop", PATIENCE)
    context.current().progress(3, 4)
    return work.pass_gate(name)


class Stop:
    """A dispatcher that stops in a thread of its own, and gives its jobs much time."""

    def __init__(self, dispatcher):
        self.thread = threading.Thread(target=dispatcher.deactivate, args=(NEVER,))
        self.thread.start()
        wait_until(dispatcher.stopping.is_set, "the stop", PATIENCE)

    def has_come(self) -> bool:
        self.thread.join(PATIENCE)
        return not self.thread.is_alive()


@pytest.fixture
def worker(start_dispatcher):
    return start_dispatcher(poll_interval=NEVER)


@pytest.fixture
def begun(queue, counter, worker):
    """Puts a job, and returns it when it has begun."""

    def begun(function, *args, **options):
        job = queue.put(Job(function, *args), **options)
        transaction.commit()
        wait_until_begun("job")
        return job

    return begun


def test_a_cancel_is_passed_on(begun, counter, worker):
    job = begun(stopping.check_until_stopped, counter, "job")
    stop = Stop(worker)
    assert cancel(job) == cancelling.ASKED
    assert_cancelled(job)
    assert stop.has_come()
    assert counter.count == 0


def test_a_cancel_of_one_that_waits_for_a_deferred_is_heard(begun, counter, worker):
    job = begun(stopping.defer_and_count, counter, "job")
    pool = pool_of(worker)
    wait_until(lambda: pool.deferred, "the Deferred", PATIENCE)
    stop = Stop(worker)
    assert cancel(job) == cancelling.ASKED
    assert_cancelled(job)
    assert stop.has_come()
    deferring.deferreds["job"].callback("late")


@pytest.mark.parametrize("hung", ["job", "callback"])
def test_what_hangs_is_given_up_and_not_waited_for(
    queue, counter, worker, monkeypatch, hung
):
    monkeypatch.setattr(station, "GRACE", NEVER)
    if hung == "job":
        job = hanging = Job(stopping.ignore, counter, "job")
    else:
        job = Job(work.answer)
        hanging = job.addCallback(Job(stopping.ignore_result, counter, "job"))
    hanging.timeout = SOON
    queue.put(job)
    transaction.commit()
    wait_until_begun("job")
    pool = pool_of(worker)
    wait_until(lambda: pool.overdue(0), "the timeout", PATIENCE)
    (name,) = pool.running
    (thread,) = (each for each in threading.enumerate() if each.name == name)
    stop = Stop(worker)
    monkeypatch.setattr(station, "GRACE", 0.1)
    assert stop.has_come()
    assert thread.is_alive()
    transaction.begin()
    assert hanging.result.check(JobTimeoutError)
    work.gate("job").set()
    thread.join(PATIENCE)
    transaction.begin()
    assert hanging.status == COMPLETED
    assert counter.count == 0


def test_progress_is_seen(begun, worker):
    job = begun(report_when_stopping, "job")
    stop = Stop(worker)

    def done():
        transaction.begin()
        return progress.of(job).done

    assert wait_until(done, "its progress", PATIENCE) == 3
    work.gate("job").set()
    assert wait_for_result(job, PATIENCE) == "job"
    assert stop.has_come()
