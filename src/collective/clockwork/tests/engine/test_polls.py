"""What a dispatcher remembers of its polls and jobs, and tells of them."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine.dispatcher import Dispatcher
from collective.clockwork.engine.dispatcher import getId
from collective.clockwork.engine.failure import isFailure
from collective.clockwork.engine.history import History
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.jobrecords import JobRecord
from collective.clockwork.engine.jobrecords import JobRecords
from collective.clockwork.engine.polls import key_of
from collective.clockwork.engine.polls import moment_of
from collective.clockwork.engine.polls import PollInfo
from collective.clockwork.engine.polls import Polls
from collective.clockwork.engine.pool import Ticket
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.testing import set_now
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.dispatching import NEVER
from collective.clockwork.tests.engine.dispatching import wait_for_agents
from collective.clockwork.tests.engine.dispatching import wait_until_begun
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from uuid import uuid4
from ZODB.utils import p64

import pytest
import transaction


NOW = datetime(2026, 5, 4, 3, 2, 1, 123456, tzinfo=timezone.utc)


class Place:
    """As much of a pool as the history looks at."""

    queue = ""
    name = "main"
    size = 3


def ticket(number, attempt=0):
    return Ticket(p64(number), "unnamed", attempt, b"\0" * 8)


def poll_at(seconds_ago, *new_jobs):
    info = {"size": 3, "len": 0, "error": None, "active jobs": []}
    info["new jobs"] = [(number, "unnamed") for number in new_jobs]
    key = key_of(NOW - timedelta(seconds=seconds_ago))
    return PollInfo(key, {"": {"main": info}})


@pytest.fixture
def idle(db):
    """A dispatcher that does not work, for what it tells of its history."""
    made = Dispatcher(db, uuid=uuid4())
    for seconds_ago in (30, 20, 10):
        made.polls.add(poll_at(seconds_ago))
    return made


# Keys


@pytest.mark.parametrize(
    "moment",
    [
        NOW,
        datetime.min.replace(tzinfo=timezone.utc),
        datetime.max.replace(tzinfo=timezone.utc),
    ],
)
def test_a_key_loses_nothing_of_its_moment(moment):
    assert moment_of(key_of(moment)) == moment
    assert moment_of(key_of(moment) + 15) == moment


def test_later_polls_have_smaller_keys():
    assert key_of(NOW) == key_of(NOW - timedelta(microseconds=1)) - 16


def test_a_naive_moment_is_read_as_utc():
    assert key_of(NOW.replace(tzinfo=None)) == key_of(NOW)


# Sizes


def test_only_the_newest_polls_are_kept_and_the_size_can_be_set():
    polls = Polls(size=3)
    for seconds_ago in (5, 4, 3, 2, 1):
        polls.add(poll_at(seconds_ago))
    assert [poll.key for poll in polls] == [poll_at(n).key for n in (1, 2, 3)]
    polls.size = 2
    assert len(polls) == 2
    polls.add(poll_at(0))
    assert [poll.key for poll in polls] == [poll_at(n).key for n in (0, 1)]


def test_only_the_newest_jobs_are_kept_and_the_size_can_be_set():
    jobs = JobRecords(size=3)
    for number in range(5):
        jobs.add(JobRecord((number, "unnamed"), 0, "", "main", None))
    assert [id[0] for id in jobs] == [2, 3, 4]
    jobs.size = 1
    assert list(jobs) == [(4, "unnamed")]


@pytest.mark.parametrize("size", [0, -1, 1.5, True, None])
def test_a_size_must_be_a_whole_number_above_zero(size):
    with pytest.raises(ValueError, match="polls_size"):
        Polls(size)
    with pytest.raises(ValueError, match="jobs_size"):
        JobRecords(size)


def test_the_sizes_are_200_jobs_and_400_polls_unless_told_otherwise(db):
    made = Dispatcher(db, uuid=uuid4())
    assert (made.jobs.size, made.polls.size) == (200, 400)
    made = Dispatcher(db, uuid=uuid4(), jobs_size=7, polls_size=8)
    assert (made.jobs.size, made.polls.size) == (7, 8)


# Looking at polls


def test_a_poll_is_found_at_its_key_and_its_time_and_not_before(idle):
    newest, middle, oldest = idle.polls
    assert idle.getPollInfo() is newest
    for moment in (middle.key, middle.utc_timestamp):
        assert idle.getPollInfo(at=moment) is middle
        assert idle.getPollInfo(before=moment) is oldest
    assert idle.getPollInfo(before=middle.key - 16) is middle
    assert idle.polls[middle.key] is middle
    assert idle.polls.first() is newest


def test_a_poll_that_is_older_than_all_recorded_is_an_error(idle):
    with pytest.raises(ValueError, match="no poll"):
        idle.getPollInfo(before=NOW - timedelta(seconds=30))


def test_at_and_before_together_are_an_error(idle):
    for ask in (idle.getPollInfo, idle.iterPolls, idle.getStatistics):
        with pytest.raises(ValueError, match="not both"):
            ask(at=NOW, before=NOW)


def test_polls_are_iterated_from_the_newest_and_since_is_included(idle):
    newest, middle, oldest = idle.polls
    assert list(idle.iterPolls()) == [newest, middle, oldest]
    assert [p.key for p in idle.iterPolls(since=middle.key)] == [
        newest.key,
        middle.key,
    ]
    assert [p.key for p in idle.iterPolls(at=middle.key)] == [middle.key, oldest.key]
    assert [p.key for p in idle.iterPolls(before=newest.key, count=1)] == [middle.key]


# Statistics


def record(jobs, number, seconds=None, failed=False, begun=True):
    found = jobs.add(JobRecord((number, "unnamed"), 0, "", "main", None))
    if begun:
        found.started = clock.to_us(NOW - timedelta(seconds=60))
    if seconds is not None:
        found.ended = found.started + seconds * 1_000_000
        found.failed = failed


def test_statistics_count_the_jobs_of_polls_and_name_the_extremes(idle):
    set_now(NOW)
    idle.polls.add(poll_at(2, 1, 2, 3, 4))
    idle.polls.add(poll_at(1, 5, 6, 7))
    record(idle.jobs, 1, 5)
    record(idle.jobs, 2, 9)
    record(idle.jobs, 3, 4, failed=True)
    record(idle.jobs, 4)
    record(idle.jobs, 5, 7)
    record(idle.jobs, 6, begun=False)
    assert idle.getStatistics() == {
        "started": 7,
        "successful": 3,
        "failed": 1,
        "cancelled": 0,
        "unknown": 1,
        "shortest successful": (1, "unnamed"),
        "longest successful": (2, "unnamed"),
        "shortest failed": (3, "unnamed"),
        "longest failed": (3, "unnamed"),
        "shortest cancelled": None,
        "longest cancelled": None,
        "shortest active": (4, "unnamed"),
        "longest active": (4, "unnamed"),
        "statistics start": NOW - timedelta(seconds=30),
        "statistics end": NOW - timedelta(seconds=1),
    }
    assert idle.getStatistics(since=NOW - timedelta(seconds=1))["started"] == 3
    assert idle.getStatistics(queue="other")["started"] == 0
    assert idle.getStatistics(agent="main")["started"] == 7


def test_statistics_of_nothing_have_all_keys(db):
    numbers = Dispatcher(db, uuid=uuid4()).getStatistics()
    assert numbers.pop("started") == 0
    assert set(numbers.values()) == {0, None}
    assert len(numbers) == 14


# What is recorded


def test_what_was_claimed_is_recorded_with_the_poll_and_each_job():
    history = History()
    history.claimed(Place, (), [ticket(1), ticket(2)])
    assert history.is_due(NEVER)
    history.record({}, uuid4(), "boot")
    (poll,) = history.polls
    assert [history.jobs[id]["poll id"] for id in history.jobs] == [poll.key] * 2
    assert history.jobs[1, "unnamed"]["started"] is None
    assert not history.is_due(NEVER)


def test_polls_at_one_moment_have_different_keys():
    set_now(NOW)
    history = History()
    for _ in range(3):
        history.record({}, uuid4(), "boot")
    clock.freeze(None)
    keys = [poll.key for poll in history.polls]
    assert keys == sorted(set(keys))


def test_a_run_of_an_older_claim_does_not_change_what_is_told_of_the_newer(queue):
    job = queue.put(Job(work.answer))
    transaction.commit()
    jobs = JobRecords()
    newer = jobs.add(JobRecord(getId(job), 2, "", "main", None))
    older = jobs.begin(Place, Ticket(job._p_oid, "unnamed", 1, b""), job)
    jobs.end(older, job, "done", [])
    assert newer.started is None and newer.ended is None


@pytest.mark.parametrize("size", [5, 100_000])
def test_long_values_are_cut(queue, size):
    job = queue.put(Job(work.mirror, "x" * size))
    transaction.commit()
    made = JobRecord((1, "unnamed"), 0, "", "main", None)
    made.begin(job, "thread")
    made.end(["y" * size] * 1_000)
    assert len(made.info()["call"]) < 400
    assert len(made.info()["result"]) <= 10_000


def test_a_number_too_long_to_be_written_is_told_of_by_its_size(queue):
    made = JobRecord((1, "unnamed"), 0, "", "main", None)
    made.end(1 << 100_000)
    assert made.info()["result"] == "<int of 100001 bits>"
    made.end([1 << 100_000])
    assert made.info()["result"] == "[<int of 100001 bits>]"


class Unreadable:
    """Its repr is an error."""

    def __repr__(self):
        raise RuntimeError("no repr")


def test_a_result_without_a_repr_is_no_error_of_the_job(queue):
    made = JobRecord((1, "unnamed"), 0, "", "main", None)
    made.end(Unreadable())
    assert "Unreadable" in made.info()["result"]


# With a dispatcher that works


def test_the_first_poll_is_recorded_with_its_time(start_dispatcher, queue):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    wait_until(lambda: len(dispatcher.polls), "a poll")
    poll = dispatcher.getPollInfo()
    assert poll.utc_timestamp.tzinfo is timezone.utc
    assert poll[""]["main"] == {
        "size": 3,
        "len": 0,
        "error": None,
        "new jobs": [],
        "active jobs": [],
    }


def test_a_job_is_told_of_with_all_that_zc_async_told(start_dispatcher, queue):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    queue.quotas.create("mail")
    job = Job(work.echo, 1, two=2)
    job.quota_names = ("mail",)
    queue.put(job)
    transaction.commit()
    wait_for_result(job)
    oid, database = getId(job)
    info = wait_until(
        lambda: dispatcher.getJobInfo(oid)["completed"] and dispatcher.getJobInfo(oid),
        "a record",
    )
    assert (
        info == dispatcher.getJobInfo(oid, database) == dispatcher.jobs[oid, database]
    )
    poll = dispatcher.getPollInfo(at=info["poll id"])
    assert poll[""]["main"]["new jobs"] == [(oid, database)]
    assert info["started"] <= info["completed"]
    assert {
        name: info[name]
        for name in set(info) - {"poll id", "started", "completed", "thread"}
    } == {
        "agent": "main",
        "queue": "",
        "call": repr(job),
        "quota names": ("mail",),
        "failed": False,
        "cancelled": False,
        "result": "((1,), {'two': 2})",
        "reassigned": False,
    }
    assert info["thread"].startswith("clockwork-")


@pytest.mark.parametrize(
    "make",
    [
        lambda root: Job(work.echo, "text", 1.5, b"bytes", key=None),
        lambda root: Job(root["counter"].add, by=2),
        lambda root: Job(work.mirror, root["counter"]),
    ],
)
def test_a_call_is_told_of_as_in_the_repr_of_the_job(root, queue, make):
    root["counter"] = work.Counter()
    transaction.commit()
    job = queue.put(make(root))
    transaction.commit()
    made = JobRecord(getId(job), 0, "", "main", None)
    made.begin(job, "thread")
    assert made.call() == repr(job)


def test_a_failure_is_told_of_with_its_traceback(start_dispatcher, queue):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    job = queue.put(Job(work.boom, "bang"))
    transaction.commit()
    assert isFailure(wait_for_result(job))
    oid = getId(job)[0]
    wait_until(lambda: dispatcher.getJobInfo(oid)["completed"], "a record")
    info = dispatcher.getJobInfo(oid)
    assert info["failed"] is True
    assert info["result"].endswith("ValueError: bang\n")


def test_a_running_job_is_active_and_then_is_not(start_dispatcher, queue):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    job = queue.put(Job(work.pass_gate, "slow"))
    transaction.commit()
    wait_until_begun("slow")
    id = getId(job)
    assert dispatcher.getActiveJobIds() == [id]
    assert dispatcher.getActiveJobIds(queue="", agent="main") == [id]
    assert dispatcher.getActiveJobIds(queue="other") == []
    assert dispatcher.getActiveJobIds(agent="other") == []
    # The poll that claimed it is recorded when it is over.
    wait_until(lambda: dispatcher.getStatistics()["longest active"], "its poll")
    numbers = dispatcher.getStatistics()
    assert numbers["longest active"] == numbers["shortest active"] == id
    assert dispatcher.getJobInfo(*id)["reassigned"] is False
    work.gate("slow").set()
    wait_for_result(job)
    wait_until(lambda: not dispatcher.getActiveJobIds(), "an idle pool")
    numbers = dispatcher.getStatistics()
    assert (numbers["started"], numbers["successful"]) == (1, 1)
    assert numbers["longest active"] is None


def test_a_job_that_waits_for_an_inner_one_is_not_reassigned(start_dispatcher, queue):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    outer = queue.put(Job(work.put_and_return, work.pass_gate, "inner"))
    transaction.commit()
    wait_until_begun("inner")
    id = getId(outer)
    info = dispatcher.getJobInfo(*id)
    assert (info["completed"], info["reassigned"]) == (None, False)
    work.gate("inner").set()
    wait_for_result(outer)
    wait_until(lambda: dispatcher.getJobInfo(*id)["completed"], "the outer's record")
    assert dispatcher.getJobInfo(*id)["result"] == "'inner'"


def test_a_job_that_others_took_over_is_reassigned(start_dispatcher, queue):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    job = queue.put(Job(work.pass_gate, "slow"))
    transaction.commit()
    wait_until_begun("slow")
    id = getId(job)
    dispatcher.jobs.taken_away("other")
    assert dispatcher.getJobInfo(*id)["reassigned"] is False
    # The dispatcher comes back and may claim it anew, which makes a new record.
    record = dispatcher.jobs.record(id)
    wait_for_agents(queue, dispatcher).deactivate()
    transaction.commit()
    wait_until(lambda: record.reassigned, "a look")
    assert record.info()["reassigned"] is True
    work.gate("slow").set()


def test_an_unknown_job_is_an_error(idle):
    with pytest.raises(ValueError, match="0 jobs"):
        idle.getJobInfo(12)
    with pytest.raises(KeyError):
        idle.getJobInfo(12, "unnamed")


def test_an_oid_in_two_databases_is_an_error_until_one_is_named(idle):
    for name in ("one", "two"):
        idle.jobs.add(JobRecord((12, name), 0, name, "main", None))
    with pytest.raises(ValueError, match="2 jobs"):
        idle.getJobInfo(12)
    assert idle.getJobInfo(12, "two")["queue"] == "two"


def refuse(job):
    raise RuntimeError("a filter that is broken")


def test_a_poll_that_fails_for_an_agent_tells_its_error(start_dispatcher, queue):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    wait_for_agents(queue, dispatcher)["main"].filter = refuse
    queue.put(Job(work.answer))
    transaction.commit()

    def error():
        poll = dispatcher.getPollInfo() if len(dispatcher.polls) else {}
        return poll.get("", {}).get("main", {}).get("error")

    failure = wait_until(error, "an error")
    assert failure.getErrorMessage() == "a filter that is broken"


def test_a_queue_that_others_serve_under_our_uuid_is_told_of_as_none(db, queue):
    uuid = uuid4()
    queue.dispatchers.register(uuid).activate("another process")
    history = History()
    history.record({"": queue}, uuid, "this process")
    assert history.polls.first() == {"": None}


def test_idle_looks_are_not_recorded_before_the_interval_is_over(
    start_dispatcher, queue, root
):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    wait_for_agents(queue, dispatcher)
    wait_until(lambda: len(dispatcher.polls), "a poll")
    for number in range(3):
        before = dispatcher.last_poll
        root["something"] = number
        transaction.commit()
        wait_until(lambda before=before: dispatcher.last_poll != before, "a look")
    assert len(dispatcher.polls) == 1


def test_a_dispatcher_that_polls_often_records_often(start_dispatcher, queue):
    dispatcher = start_dispatcher(poll_interval=0.01)
    wait_until(lambda: len(dispatcher.polls) > 3, "four polls")


def test_starting_again_forgets_the_history(start_dispatcher, queue):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    job = queue.put(Job(work.answer))
    transaction.commit()
    wait_for_result(job)
    dispatcher.deactivate()
    assert dispatcher.jobs
    assert dispatcher.getStatusInfo()["status"] == "STOPPED"
    dispatcher.activate()
    wait_until(lambda: len(dispatcher.polls), "a poll")
    assert not dispatcher.jobs


def test_a_queue_that_is_added_is_in_the_next_poll(start_dispatcher, queue):
    dispatcher = start_dispatcher(poll_interval=0.01)
    wait_until(lambda: len(dispatcher.polls), "a poll")
    queue.parent["second"] = Queue()
    transaction.commit()
    wait_until(lambda: "second" in dispatcher.getPollInfo(), "a poll of it")
