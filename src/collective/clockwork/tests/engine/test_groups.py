"""Jobs that share a transaction, run by real dispatchers."""

from __future__ import annotations

from collective.clockwork.engine import groups
from collective.clockwork.engine import progress
from collective.clockwork.engine import sharing
from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.errors import OptionError
from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.interfaces import TimeoutError
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import deferring
from collective.clockwork.tests.engine import grouping
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.dispatching import pool_of
from collective.clockwork.tests.engine.dispatching import wait_until_begun
from datetime import timedelta
from functools import partial
from ZODB.POSException import ConflictError

import pytest
import transaction


@pytest.fixture(autouse=True)
def be_patient(monkeypatch):
    grouping.be_patient(monkeypatch.setattr)


@pytest.fixture
def start(queue, start_dispatcher):
    """Starts a dispatcher with one thread, which is ready for a group."""
    return partial(grouping.start_ready, queue, start_dispatcher)


@pytest.fixture
def put(queue, ledger):
    """Puts a groupable job that notes its name in the ledger."""

    def put(name, function=grouping.note, *more, quota=None, **options):
        job = Job(function, ledger, name, *more)
        if quota is not None:
            job.quota_names = (quota,)
        return queue.put(job, **{"groupable": True, **options})

    return put


def test_effects_and_completions_are_in_one_commit(start, put, ledger):
    start()
    jobs = [put(f"job {number}") for number in range(5)]
    assert grouping.finish(*jobs) == [f"job {number}" for number in range(5)]
    assert grouping.names(ledger) == [f"job {number}" for number in range(5)]
    assert grouping.commits_of([*jobs, ledger]) == {ledger._p_serial}
    assert {job.status for job in jobs} == {COMPLETED}


def test_others_keep_their_own_commits(start, put, ledger):
    start()
    jobs = [put(f"job {number}", groupable=False) for number in range(3)]
    grouping.finish(*jobs)
    assert len(grouping.commits_of(jobs)) == 3


def test_a_group_has_a_limit(start, put, monkeypatch):
    monkeypatch.setattr(sharing, "MOST_IN_GROUP", 4)
    start()
    jobs = [put(f"job {number}") for number in range(8)]
    grouping.finish(*jobs)
    assert len(grouping.commits_of(jobs)) == 2


def test_a_group_ends_when_its_time_is_over(start, put, monkeypatch):
    monkeypatch.setattr(groups, "BUDGET", 0.0)
    start()
    jobs = [put(f"job {number}") for number in range(4)]
    grouping.finish(*jobs)
    assert len(grouping.commits_of(jobs)) == 4


def test_one_that_fails_is_rolled_back_and_fails_alone(start, put, queue, ledger):
    queue.quotas.create("one", size=1)
    transaction.commit()
    start()
    jobs = [
        put("first", quota="one"),
        put("second", quota="one"),
        put("bad", grouping.note_and_fail, quota="one"),
        put("third", quota="one"),
        put("fourth", quota="one"),
    ]
    results = grouping.finish(*jobs)
    assert results[2].check(ValueError)
    assert grouping.names(ledger) == ["first", "second", "third", "fourth"]
    assert {job.status for job in jobs} == {COMPLETED}
    # In its group, and alone; the others once.
    assert [work.calls[name] for name in ("first", "bad", "third")] == [1, 2, 1]
    assert len(grouping.commits_of(jobs)) == 3
    starts = [job.active_start for job in jobs]
    assert starts == sorted(starts)


def test_the_first_may_fail_too(start, put, ledger):
    start()
    bad = put("bad", grouping.note_and_fail)
    jobs = [put("first"), put("second")]
    grouping.finish(bad, *jobs)
    assert grouping.names(ledger) == ["first", "second"]
    assert len(grouping.commits_of(jobs)) == 1


def test_one_that_fails_is_tried_again_by_its_policy(start, put, ledger):
    start()
    jobs = [
        put("first"),
        put("flaky", grouping.note_and_fail_once),
        put("second"),
    ]
    assert grouping.finish(*jobs) == ["first", "flaky", "second"]
    assert grouping.names(ledger) == ["first", "flaky", "second"]


def test_a_conflict_at_the_commit_runs_them_one_by_one(start, put, root, ledger):
    counter = root["counter"] = work.Counter()
    start()
    jobs = [
        put("first"),
        put("second", grouping.note_and_change_elsewhere_once, counter),
        put("third"),
    ]
    assert grouping.finish(*jobs) == ["first", "second", "third"]
    assert grouping.names(ledger) == ["first", "second", "third"]
    assert counter.count == 11
    assert len(grouping.commits_of(jobs)) == 3
    assert work.calls["first"] == 2


def test_a_commit_whose_answer_was_lost_is_not_repeated(
    start, put, queue, ledger, monkeypatch
):
    made = start()
    lost = []
    finish_commit = type(made.db.storage).tpc_finish

    def tpc_finish(self, txn, *arguments):
        tid = finish_commit(self, txn, *arguments)
        if work.calls.get("second") and not lost:
            lost.append(tid)
            raise ConflictError("the answer was lost")
        return tid

    monkeypatch.setattr(type(made.db.storage), "tpc_finish", tpc_finish)
    jobs = [put("first", keep_result=timedelta()), put("second")]
    grouping.finish(*jobs)
    assert lost
    assert grouping.names(ledger) == ["first", "second"]
    assert grouping.commits_of([*jobs, ledger]) == {lost[0]}
    wait_until(lambda: not grouping.who(queue), "the sweep")
    assert "first" not in grouping.kept(queue)
    assert "second" in grouping.kept(queue)


def test_one_that_returns_a_job_waits_for_it(start, put, ledger):
    start()
    jobs = [put("first"), put("outer", grouping.note_and_return_job), put("last")]
    assert grouping.finish(*jobs) == ["first", "inner", "last"]
    assert sorted(grouping.names(ledger)) == ["first", "last", "outer"]


def test_one_that_returns_a_deferred_waits_for_it(start, put, queue):
    start()
    first = put("first")
    deferred = queue.put(Job(deferring.defer_fired, 42), groupable=True)
    last = put("last")
    assert grouping.finish(first, deferred, last) == ["first", 42, "last"]


def test_one_that_snoozes_is_run_again_later(start, put, ledger):
    start()
    jobs = [put("first"), put("tired", grouping.note_and_snooze_once), put("last")]
    assert grouping.finish(*jobs) == ["first", "tired", "last"]
    # Its effects are kept each time; in its group they were not.
    assert sorted(grouping.names(ledger)) == ["first", "last", "tired", "tired"]


def test_one_that_returns_a_failure_keeps_its_effects(start, put, ledger):
    start()
    jobs = [put("first"), put("bad", grouping.note_and_return_failure), put("last")]
    assert grouping.finish(*jobs)[1].check(ValueError)
    assert grouping.names(ledger) == ["first", "bad", "last"]


def test_one_that_commits_takes_the_others_with_it(start, put, ledger):
    start()
    jobs = [put("first"), put("commits", grouping.note_and_commit), put("last")]
    assert grouping.finish(*jobs) == ["first", "commits", "last"]
    assert grouping.names(ledger) == ["first", "commits", "commits again", "last"]
    assert [work.calls[name] for name in ("first", "commits", "last")] == [1, 1, 1]


def test_one_that_aborts_lets_the_others_be_run_again(start, put, ledger):
    start()
    jobs = [put("first"), put("aborts", grouping.note_abort_and_note), put("last")]
    assert grouping.finish(*jobs) == ["first", "aborts", "last"]
    assert sorted(grouping.names(ledger)) == ["aborts", "first", "last"]
    assert work.calls["first"] == 2


def test_one_that_commits_and_fails_comes_to_an_end(start, put, ledger):
    start()
    jobs = [put("first"), put("bad", grouping.commit_and_fail), put("last")]
    assert grouping.finish(*jobs)[1].check(ValueError)
    # What it commits itself, it commits as often as it is run.
    assert grouping.names(ledger) == ["first", "bad", "bad", "last"]
    assert jobs[1].attempt == 0


def test_one_that_raises_system_exit_harms_no_other(start, put, ledger):
    made = start()
    jobs = [put("first"), put("exits", grouping.note_and_exit_once), put("last")]
    assert grouping.finish(*jobs) == ["first", "exits", "last"]
    assert grouping.names(ledger) == ["first", "exits", "last"]
    assert all(thread.is_alive() for thread in pool_of(made).threads)


def test_one_whose_result_cannot_be_stored_fails_alone(start, put, ledger):
    start()
    jobs = [put("first"), put("bad", grouping.note_and_return_lock), put("last")]
    results = grouping.finish(*jobs)
    assert results[0] == "first"
    assert results[1].check(TypeError)
    assert results[2] == "last"
    assert grouping.names(ledger) == ["first", "last"]


def test_callbacks_run_before_the_next_one(start, put, queue, ledger):
    queue.quotas.create("one", size=1)
    transaction.commit()
    start()
    jobs = [put("first", quota="one"), put("called", quota="one")]
    callback = jobs[1].addCallback(Job(work.note_result, ledger))
    jobs.append(put("last", quota="one"))
    assert grouping.finish(*jobs) == ["first", "called", "last"]
    assert grouping.names(ledger) == ["first", "called", "called", "last"]
    assert callback.result == "called"
    assert jobs[1].status == COMPLETED
    assert work.calls["called"] == 1


def test_one_that_is_cancelled_before_is_not_begun(start, put, queue, ledger):
    pool = pool_of(start())
    gate = queue.put(Job(work.pass_gate, "gate"))
    jobs = [put("first"), put("cancelled"), put("last")]
    transaction.commit()
    wait_until_begun("gate")
    wait_until(lambda: jobs[1] in grouping.who(queue), "claiming it")
    assert queue.cancel(jobs[1], "anna") == "asked"
    transaction.commit()
    wait_until(lambda: pool._cancelled, "passing the cancel on")
    work.gate("gate").set()
    results = grouping.finish(gate, *jobs)
    assert results[2].check(CancelledError)
    assert grouping.names(ledger) == ["first", "last"]


def test_a_cancel_of_one_is_not_one_of_the_next(start, queue):
    made = start()
    jobs = [
        queue.put(Job(grouping.cancel_requested, name), groupable=True)
        for name in ("first", "second")
    ]
    transaction.commit()
    wait_until_begun("first")
    transaction.begin()
    assert queue.cancel(jobs[0]) == "asked"
    transaction.commit()
    (running,) = pool_of(made).running.values()
    wait_until(lambda: running.control.cancel is not None, "being asked")
    work.gate("first").set()
    wait_until_begun("second")
    polled = made.last_poll
    made.waker.set()
    wait_until(lambda: made.last_poll > polled, "asking again")
    work.gate("second").set()
    # Both in the group: a cancel that the function does not heed changes nothing.
    assert grouping.finish(*jobs) == [True, False]


def test_one_that_was_taken_away_is_left_to_others(start, put, ledger):
    start()
    jobs = [put("first"), put("second"), put("taken"), put("last")]
    transaction.savepoint(optimistic=True)
    jobs[1].args[:] = [ledger, "second", jobs[2]._p_oid]
    jobs[1]._callable = "collective.clockwork.tests.engine.grouping:reassign"
    assert grouping.finish(*jobs) == ["first", "second", "taken", "last"]
    assert sorted(grouping.names(ledger)) == ["first", "last", "second", "taken"]
    assert jobs[2].attempt >= 1


def test_one_that_is_past_its_time_fails(start, put, queue, ledger):
    start()
    gate = queue.put(Job(work.pass_gate, "gate"))
    late = put("late", begin_by=timedelta(milliseconds=1))
    jobs = [put("first"), put("last")]
    transaction.commit()
    wait_until_begun("gate")
    work.gate("gate").set()
    results = grouping.finish(gate, late, *jobs)
    assert results[1].check(TimeoutError)
    assert grouping.names(ledger) == ["first", "last"]


def test_a_data_manager_without_savepoints_costs_the_group_only(start, put, ledger):
    start()
    jobs = [
        put("first", grouping.note_and_join),
        put("bad", grouping.note_and_fail),
        put("last"),
    ]
    assert grouping.finish(*jobs)[1].check(ValueError)
    assert grouping.names(ledger) == ["first", "last"]
    assert work.calls["first"] == 2


def test_a_hook_of_one_that_failed_is_not_called(start, put, ledger):
    start()
    jobs = [put("first"), put("flaky", grouping.fail_with_hook_once), put("last")]
    assert grouping.finish(*jobs) == ["first", "flaky", "last"]
    assert grouping.names(ledger) == ["first", "flaky", "last"]
    assert work.calls["flaky"] == 2
    wait_until(lambda: work.calls.get("flaky said"), "the hook")
    assert work.calls["flaky said"] == 1


def test_one_that_reports_reports_for_itself(start, put):
    made = start()
    jobs = [put("first", grouping.report), put("second", grouping.report)]
    grouping.finish(*jobs)
    assert len(grouping.commits_of(jobs)) == 1
    assert [progress.of(job).message for job in jobs] == ["first", "second"]
    wait_until(lambda: not made.flusher._reporters, "forgetting what was reported")


def test_members_that_are_not_begun_are_given_back(start, put, queue, ledger):
    start()
    jobs = [put("first", grouping.note_behind_gate), put("second"), put("last")]
    transaction.commit()
    wait_until_begun("first")
    wait_until(lambda: jobs[2] in grouping.who(queue), "claiming the others")
    queue.pause()
    transaction.commit()
    wait_until(lambda: grouping.who(queue) == [jobs[0]], "giving back")
    work.gate("first").set()
    grouping.finish(jobs[0])
    queue.resume()
    assert grouping.finish(*jobs) == ["first", "second", "last"]
    assert grouping.names(ledger) == ["first", "second", "last"]
    assert len(grouping.commits_of(jobs[1:])) == 1
    assert len(grouping.commits_of(jobs)) == 2


def test_what_is_to_run_alone_is_given_back_too(start, put, queue, ledger):
    start()
    jobs = [put("first", grouping.wait_and_fail_once), put("last")]
    transaction.commit()
    wait_until_begun("first")
    queue.pause()
    transaction.commit()
    wait_until(lambda: grouping.who(queue) == [jobs[0]], "giving the other back")
    work.gate("first").set()
    wait_until(lambda: not grouping.who(queue), "giving it back")
    assert work.calls["first"] == 1
    queue.resume()
    assert grouping.finish(*jobs) == ["first", "last"]
    assert grouping.names(ledger) == ["first", "last"]


def test_a_mixed_queue_keeps_its_order(start, put, queue, ledger):
    queue.quotas.create("one", size=1)
    transaction.commit()
    start()
    jobs = [
        put(f"job {number}", quota="one", groupable=number % 4 != 3)
        for number in range(16)
    ]
    grouping.finish(*jobs)
    assert grouping.names(ledger) == [f"job {number}" for number in range(16)]
    assert len(grouping.commits_of(jobs)) == 8


def test_in_a_quota_of_three_all_are_run(start, put, queue, ledger):
    queue.quotas.create("three", size=3)
    transaction.commit()
    start(size=3)
    jobs = [put(f"job {number}", quota="three") for number in range(40)]
    grouping.finish(*jobs)
    assert sorted(grouping.names(ledger)) == sorted(
        f"job {number}" for number in range(40)
    )
    wait_until(lambda: not grouping.who(queue), "the sweep")
    assert len(queue.quotas["three"]) == 0


def test_priorities_hold_among_groupable_ones(start, put, queue, ledger):
    start()
    gate = queue.put(Job(work.pass_gate, "gate"))
    transaction.commit()
    wait_until_begun("gate")
    queue.pause()
    low = [put(f"low {number}") for number in range(3)]
    high = [put(f"high {number}", priority=5) for number in range(3)]
    transaction.commit()
    work.gate("gate").set()
    grouping.finish(gate)
    queue.resume()
    grouping.finish(*low, *high)
    assert grouping.names(ledger) == [
        *(f"high {number}" for number in range(3)),
        *(f"low {number}" for number in range(3)),
    ]


def test_a_key_is_free_when_its_job_is_done(start, put, ledger):
    start()
    first = put("first", unique="key", on_duplicate="drop")
    assert put("second", unique="key", on_duplicate="drop") is first
    assert grouping.finish(first, put("other")) == ["first", "other"]
    third = put("third", unique="key", on_duplicate="drop")
    assert third is not first
    assert grouping.finish(third) == ["third"]
    assert grouping.names(ledger) == ["first", "other", "third"]


def test_one_is_kept_as_long_as_it_says(start, put, queue):
    start()
    jobs = [put("short", keep_result=timedelta()), put("long")]
    grouping.finish(*jobs)
    wait_until(lambda: not grouping.who(queue), "the sweep")
    assert "long" in grouping.kept(queue)
    assert "short" not in grouping.kept(queue)


def test_a_timeout_is_refused(put, queue):
    with pytest.raises(OptionError, match="groupable and timeout"):
        put("late", timeout=timedelta(seconds=1))
    assert len(queue) == 0


def test_jobs_are_recorded_in_the_history(start, put):
    made = start()
    jobs = [put("first"), put("second")]
    grouping.finish(*jobs)
    wait_until(lambda: pool_of(made).idle, "the end")
    calls = [record.call() for record in made.history.jobs.records()[-2:]]
    assert all("grouping.note" in call for call in calls)
    assert all(record.ended for record in made.history.jobs.records())


def test_a_group_that_cannot_be_run_is_run_one_by_one(start, put, ledger, monkeypatch):
    start()

    def broken(*arguments):
        raise RuntimeError("broken")

    monkeypatch.setattr(sharing, "run_together", broken)
    jobs = [put("first"), put("second")]
    assert grouping.finish(*jobs) == ["first", "second"]
    assert grouping.names(ledger) == ["first", "second"]
