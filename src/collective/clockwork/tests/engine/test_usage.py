"""Whole stories of use, as an application's author writes them."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine import configure
from collective.clockwork.engine import dispatcher as registry
from collective.clockwork.engine import instanceuuid
from collective.clockwork.engine import interfaces
from collective.clockwork.engine.agent import addMainAgentActivationHandler
from collective.clockwork.engine.compose import parallel
from collective.clockwork.engine.failure import isFailure
from collective.clockwork.engine.interfaces import IQueue
from collective.clockwork.engine.interfaces import IUUID
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.interfaces import TimeoutError
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.queue import Queues
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import set_now
from collective.clockwork.engine.testing import setUpDatetime
from collective.clockwork.engine.testing import tear_down_dispatcher
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.dispatching import NEVER
from collective.clockwork.tests.engine.dispatching import wait_until_begun
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from uuid import uuid4
from zope.component import getUtility
from zope.component import provideHandler
from zope.interface.verify import verifyObject

import pytest
import time
import transaction


def use_an_unknown_name():
    return nobody_knows_me  # noqa: F821


def explain(failure):
    failure.trap(NameError)
    return failure.getErrorMessage()


def shout(text):
    return text.upper()


def seconds_of(jobs):
    return [job.active_end - job.active_start for job in jobs]


@pytest.mark.parametrize(
    "make, result",
    [
        (lambda root: work.answer, 42),
        (lambda root: root["counter"].add, 1),
        (lambda root: Job(work.mirror, "argument"), "argument"),
    ],
)
def test_what_was_put_is_pending_and_then_done(db, root, queue, make, result):
    root["counter"] = work.Counter()
    transaction.commit()
    job = queue.put(make(root))
    transaction.commit()
    assert (job.status, job.result) == (interfaces.PENDING, None)
    assert drain(db) == 1
    transaction.begin()
    assert (job.status, job.result) == (interfaces.COMPLETED, result)


def test_a_job_for_later_waits_through_all_looks_before_its_time(db, queue):
    setUpDatetime()
    began = clock.now()
    assert began == datetime(2006, 8, 10, 15, 44, 22, 211, timezone.utc)
    job = queue.put(work.answer, began + timedelta(minutes=11))
    transaction.commit()
    for minutes in (0, 5):
        set_now(began + timedelta(minutes=minutes))
        assert drain(db) == 0
    set_now(began + timedelta(minutes=11))
    assert drain(db) == 1
    transaction.begin()
    assert job.result == 42


def test_a_past_time_means_now_and_with_a_past_deadline_never(db, queue):
    at_once = queue.put(work.answer, begin_after=work.LONG_AGO)
    never = queue.put(work.answer, begin_after=work.LONG_AGO, begin_by=work.ONE_SECOND)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert at_once.result == 42
    assert never.result.check(TimeoutError)


def test_a_failure_is_trapped_by_a_callback_and_its_chain_goes_on(db, queue):
    job = Job(use_an_unknown_name)
    trapping = job.addCallbacks(failure=explain)
    chained = trapping.addCallbacks(success=shout)
    queue.put(job)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert isFailure(job.result)
    assert trapping.result == "name 'nobody_knows_me' is not defined"
    assert chained.result == "NAME 'NOBODY_KNOWS_ME' IS NOT DEFINED"


def test_in_a_quota_of_one_the_second_waits_until_the_first_is_done(
    queue, start_dispatcher
):
    queue.quotas.create("mailing")
    start_dispatcher(poll_interval=NEVER)
    jobs = []
    for name in ("first", "second"):
        job = Job(work.pass_gate, name)
        job.quota_names = ("mailing",)
        jobs.append(queue.put(job))
    passing = queue.put(work.answer)
    transaction.commit()
    wait_until_begun("first")
    # With threads to spare, so nothing but the quota holds the second one.
    assert wait_for_result(passing) == 42
    assert jobs[1].status in (interfaces.PENDING, interfaces.ASSIGNED)
    assert not work.gate("second begun").is_set()
    work.gate("first").set()
    wait_until_begun("second")
    transaction.begin()
    assert jobs[0].result == "first"
    work.gate("second").set()
    assert wait_for_result(jobs[1]) == "second"


def test_jobs_that_run_when_a_quota_shrinks_run_on_and_hold_it_filled(queue):
    quota = queue.quotas.create("content", size=2)
    jobs = []
    for number in range(3):
        job = Job(work.mirror, number)
        job.quota_names = ("content",)
        jobs.append(queue.put(job))
        transaction.commit()
    assert [queue.claim(), queue.claim(), queue.claim()] == [*jobs[:2], None]
    quota.size = 1
    transaction.commit()
    jobs[0]()
    assert queue.claim() is None
    assert quota.filled
    jobs[1]()
    assert queue.claim() is jobs[2]
    assert list(quota) == [jobs[2]]
    transaction.commit()
    jobs[2]()
    quota.clean()
    assert len(quota) == 0


def test_a_dispatcher_gets_its_agent_from_the_handler_of_zc_async(queue):
    provideHandler(addMainAgentActivationHandler)
    agents = queue.dispatchers.register(uuid4())
    agents.activate()
    assert list(agents) == ["main"]
    mine = agents["main"]
    agents.deactivate()
    agents.activate()
    assert agents["main"] is mine


def test_the_uuid_is_the_first_line_of_its_file(tmp_path, monkeypatch, components):
    path = tmp_path / "uuid.txt"
    monkeypatch.setenv("ZC_ASYNC_UUID", str(path))
    configure.minimal()
    uuid = getUtility(IUUID)
    assert path.read_text().partition("\n")[0] == str(uuid)
    assert verifyObject(IUUID, uuid)
    assert instanceuuid.getUUID() is instanceuuid.getUUID() is instanceuuid.UUID
    assert instanceuuid.UUID == uuid


def test_a_uuid_file_with_something_else_is_refused_by_name(tmp_path, monkeypatch):
    path = tmp_path / "uuid.txt"
    path.write_text("none of the kind\n")
    monkeypatch.setenv("ZC_ASYNC_UUID", str(path))
    with pytest.raises(ValueError, match=r"uuid.txt is 'none of the kind'"):
        instanceuuid.getUUID()


def test_one_call_starts_all_and_a_batch_sums_up(db, connection):
    dispatcher = configure.start(db, poll_interval=NEVER)
    try:
        assert isinstance(connection.root()[KEY], Queues)
        queue = IQueue(connection)
        now = queue.put(time.time)
        sizes = [Job(len, "x" * size) for size in (1, 20, 300)]
        batch = queue.put(parallel(*sizes, postprocess=work.total))
        transaction.commit()
        assert abs(wait_for_result(now) - time.time()) < 60
        assert wait_for_result(batch) == 321
        assert all(took >= timedelta() for took in seconds_of([now, *sizes]))
        assert batch.active_end >= max(job.active_end for job in sizes)
    finally:
        tear_down_dispatcher(dispatcher)
        registry.pop(dispatcher.UUID)
