"""Loops of a job that can be gone on with."""

from __future__ import annotations

from BTrees.OOBTree import OOBTree
from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.errors import JobTimeoutError
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.retry import NeverRetry
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import tear_down_dispatcher
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.tests.engine import looping
from collective.clockwork.tests.engine import work
from persistent.list import PersistentList

import pytest
import transaction


pytestmark = pytest.mark.usefixtures("no_visits")


@pytest.fixture
def ledger(root):
    root["ledger"] = looping.Ledger()
    transaction.commit()
    return root["ledger"]


def once(ledger, items):
    assert dict(ledger) == dict.fromkeys(items, 1)


# A loop


@pytest.mark.parametrize("size", [0, 1, 4, 5, 6, 10, 23])
def test_each_item_is_given_once(perform, ledger, size):
    job = perform(looping.add_all, ledger, range(size), commit_every=5)
    assert job.result == 1
    assert looping.visits == list(range(size))
    once(ledger, range(size))


def commits_of(db, tid, oid):
    return sum(
        1
        for one in db.storage.iterator(tid)
        for record in one
        if record.oid == oid and one.tid > tid
    )


@pytest.mark.parametrize("size, expected", [(4, 1), (5, 2), (12, 3)])
def test_so_many_items_are_one_commit(perform, ledger, db, size, expected):
    tid = db.lastTransaction()
    job = perform(looping.add_all, ledger, range(size), commit_every=5)
    queued = 1
    assert commits_of(db, tid, job._p_oid) == queued + expected


def test_a_next_attempt_goes_on_behind_what_was_committed(perform, ledger):
    job = perform(looping.add_all, ledger, range(12), [7, 8], commit_every=5)
    assert job.result == 3
    assert looping.visits == [*range(8), *range(5, 9), *range(5, 12)]
    once(ledger, range(12))


def test_a_job_that_has_done_all_keeps_no_cursor(perform, ledger):
    job = perform(looping.add_all, ledger, range(12), [7], commit_every=5)
    assert job._cursors is None
    assert "_cursors" not in job.__getstate__()


def test_a_job_that_failed_keeps_its_cursor(perform, ledger):
    job = perform(
        looping.add_all, ledger, range(12), [7], commit_every=5, policy=NeverRetry
    )
    assert job.result.check(looping.Stop)
    assert job._cursors == {(1,): (5, None, False)}
    assert type(job._cursors[(1,)]) is tuple
    once(ledger, range(5))


def test_the_last_items_are_committed_with_what_follows(perform, ledger):
    job = perform(looping.in_turn, ledger, range(4), range(10, 20), [12])
    assert job.result == 2
    # The first loop's last item, and three of the second: one commit of each.
    assert looping.visits == [*range(4), *range(10, 13), 3, *range(10, 20)]
    once(ledger, [*range(4), *range(10, 20)])


def test_a_loop_that_has_ended_is_not_begun_again(perform, ledger):
    job = perform(looping.in_turn, ledger, range(4), range(10, 20), [14])
    assert job.result == 2
    assert looping.visits == [*range(4), *range(10, 15), *range(13, 20)]
    once(ledger, [*range(4), *range(10, 20)])


def test_named_loops_may_change_their_order(perform, ledger):
    job = perform(
        looping.in_turn, ledger, range(4), range(10, 20), [14], names=("a", "b")
    )
    assert job.result == 2
    once(ledger, [*range(4), *range(10, 20)])


@pytest.mark.parametrize("leave_at", [1, 2, 4])
@pytest.mark.parametrize("stop_at", [10, 12, 13, 17])
def test_a_loop_that_was_left_is_over(perform, ledger, leave_at, stop_at):
    job = perform(
        looping.leave_early, ledger, range(8), leave_at, range(10, 20), [stop_at]
    )
    assert job.result == 2
    once(ledger, [*range(leave_at + 1), *range(10, 20)])


def test_a_job_that_is_called_by_hand_has_loops_too(ledger):
    job = Job(looping.add_all, ledger, range(12), commit_every=5)
    assert job() == 1
    once(ledger, range(12))


def test_a_callback_has_loops_of_its_own(db, queue, ledger):
    job = queue.put(Job(looping.in_turn, ledger, range(3), range(3, 7)))
    callback = job.addCallback(Job(looping.add_after, ledger))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert callback.result == "after"
    assert [ledger[item] for item in range(7)] == [1] * 7
    assert ledger[100] == ledger[109] == 1


# Loops in loops


@pytest.mark.parametrize("every", [(1, 1), (1, 3), (2, 3), (3, 2), (10, 2), (10, 10)])
@pytest.mark.parametrize("stop_at", [(0, 0), (0, 3), (1, 0), (2, 4), (3, 1)])
def test_nested_loops_go_on_where_both_were(perform, ledger, every, stop_at):
    job = perform(looping.nested, ledger, range(4), range(5), every, [stop_at])
    assert job.result == 2
    everything = [(one, two) for one in range(4) for two in range(5)]
    once(ledger, everything)
    assert len(looping.visits) - len(everything) <= every[0] * 5 + every[1]


def test_inner_loops_are_committed_as_they_go(perform, ledger):
    perform(looping.nested, ledger, range(4), range(5), (10, 2), [(2, 4)])
    second = looping.visits[looping.visits.index((2, 4)) + 1 :]
    assert second[0] == (2, 4)


def test_loops_that_take_turns_are_refused(perform):
    failure = perform(looping.take_turns, range(3), range(3)).result
    assert "take turns" in failure.getErrorMessage()


def test_an_inner_loop_that_was_left_open_is_refused(perform):
    failure = perform(looping.hold_inner, range(3)).result
    assert "have ended, or been closed" in failure.getErrorMessage()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_name_belongs_to_one_loop(perform, at_once):
    failure = perform(looping.same_name, at_once=at_once).result
    assert "belongs to another loop" in failure.getErrorMessage()


# What is given


def test_a_function_of_the_last_key_enters_in_the_middle(perform, root, ledger):
    root["source"] = OOBTree(dict.fromkeys(range(20)))
    job = perform(looping.add_behind, ledger, root["source"], [7, 13])
    assert job.result == 3
    assert looping.visits == [*range(8), *range(6, 14), *range(12, 20)]
    once(ledger, range(20))


def test_it_is_asked_anew_after_each_commit(perform, root, ledger):
    root["source"] = OOBTree(dict.fromkeys(range(8)))
    perform(looping.add_behind, ledger, root["source"], [4])
    assert looping.asked == [None, 2, 2, 5]


def test_it_sees_what_came_and_went_in_the_meantime(db, queue, root, ledger):
    root["source"] = OOBTree(dict.fromkeys(range(0, 20, 2)))
    job = queue.put(
        Job(looping.add_behind, ledger, root["source"], [8]),
        retry_policy_factory=looping.Later,
    )
    transaction.commit()
    drain_once(db)
    transaction.begin()
    once(ledger, range(0, 6, 2))
    for key in (0, 4):
        del root["source"][key]
    for key in (1, 15):
        root["source"][key] = None
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result == 2
    once(ledger, [*range(0, 20, 2), 15])


def drain_once(db):
    """Runs one attempt."""
    with pytest.raises(AssertionError):
        drain(db, limit=0)
    transaction.begin()


def test_a_list_that_has_changed_is_refused(db, queue, root, ledger):
    root["items"] = PersistentList(range(20))
    job = queue.put(
        Job(looping.add_all, ledger, root["items"], [17], commit_every=5),
        retry_policy_factory=looping.Later,
    )
    transaction.commit()
    drain_once(db)
    del root["items"][10:]
    transaction.commit()
    job.retry_policy_factory = None
    job._retry_policy = None
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result.check(LookupError)
    assert "now there are only 10" in job.result.getErrorMessage()


@pytest.fixture
def stopped_at_17(db, queue, root, ledger):
    """A job in the middle of a list with keys."""
    root["items"] = PersistentList(range(20))
    job = queue.put(
        Job(
            looping.add_all,
            ledger,
            root["items"],
            [17],
            commit_every=5,
            key=looping.same,
        ),
        retry_policy_factory=looping.Later,
    )
    transaction.commit()
    drain_once(db)
    return job


def test_with_a_key_a_list_is_gone_on_with_behind_it(db, root, ledger, stopped_at_17):
    job = stopped_at_17
    root["items"][:3] = [100, 101]
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result == 2
    once(ledger, range(20))


def test_a_key_that_is_gone_is_refused(db, root, stopped_at_17):
    job = stopped_at_17
    root["items"].remove(14)
    job._retry_policy = None
    job.retry_policy_factory = None
    transaction.commit()
    drain(db)
    transaction.begin()
    assert "no item has the key 14" in job.result.getErrorMessage()


def ignores(after):
    return iter(range(10))


def test_a_function_that_does_not_go_on_is_refused(perform):
    failure = perform(
        looping.wrong_arguments, ((ignores, 1), {"key": looping.same})
    ).result
    assert failure is not None
    assert "it must begin behind it" in failure.getErrorMessage()


@pytest.mark.parametrize(
    "args, kwargs, words",
    [
        ((range(3), 0), {}, "commit_every is 0"),
        ((range(3), "5"), {}, "commit_every is '5'"),
        ((range(3), True), {}, "commit_every is True"),
        ((range(3),), {"name": 3}, "the name of the loop is 3"),
        ((range(3),), {"key": 3}, "key is 3"),
        ((ignores,), {}, "needs key="),
        ((None,), {}, "can neither be iterated over nor called"),
        (([None], 1), {"key": looping.same}, "the key of an item is None"),
        (([work.Counter()], 1), {"key": looping.same}, "must be a plain value"),
    ],
)
def test_what_contradicts_itself_is_refused(perform, args, kwargs, words):
    failure = perform(looping.wrong_arguments, (args, kwargs), policy=NeverRetry).result
    assert words in failure.getErrorMessage()


def test_a_grouped_job_is_refused(db, queue):
    job = Job(looping.wrong_arguments, ((range(3),), {}))
    job._groupable = True
    queue.put(job)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert "is groupable" in job.result.getErrorMessage()


@pytest.mark.parametrize("abort", [True, False])
def test_a_function_that_commits_by_itself_is_refused(perform, ledger, abort):
    job = perform(looping.commit_inside, ledger, abort=abort)
    assert "committed or aborted inside a loop" in job.result.getErrorMessage()


# Conflicts


@pytest.mark.parametrize("at", [5, 7, 9, 14])
def test_a_conflict_repeats_its_items_and_no_others(perform, ledger, at):
    job = perform(looping.add_with_conflict, ledger, range(20), at, 1)
    assert job.result == 1, "the function was called once"
    first = at - at % 5
    assert looping.visits == [*range(first + 5), *range(first, 20)]
    assert {item: ledger[item] for item in ledger if item != at} == dict.fromkeys(
        set(range(20)) - {at}, 1
    )
    assert ledger[at] == 2


def test_a_conflict_of_the_first_items_repeats_what_stands_before(perform, ledger):
    job = perform(looping.add_with_conflict, ledger, range(20), 3, 1, before=True)
    assert job.result == 2
    assert ledger[-1] == 1
    assert looping.visits == [*range(5), *range(20)]


def test_conflicts_that_do_not_end_are_given_to_the_retry_policy(perform, ledger):
    job = perform(
        looping.add_with_conflict, ledger, range(20), 7, 10**6, policy=NeverRetry
    )
    assert job.result.check("ZODB.POSException.ConflictError")
    assert {item: ledger[item] for item in range(5)} == dict.fromkeys(range(5), 1)
    assert 8 not in ledger
    assert looping.visits.count(7) == 9


def test_a_conflict_in_the_body_is_a_reason_to_begin_again(perform, ledger):
    perform(looping.conflict_in_body, ledger, range(10), 6)
    assert looping.visits == [*range(7), *range(4, 10)]
    once(ledger, range(10))


# Taken over, cancelled, timed out, stopped


def test_a_job_that_was_taken_over_commits_nothing_more(perform, ledger):
    job = perform(looping.taken_over, ledger, range(12), 5)
    # The first run ends there; the second, of who has it now, goes on.
    assert looping.visits[:8] == list(range(8))
    assert looping.visits[8:] == list(range(4, 12))
    assert job.result is None
    once(ledger, range(12))


@pytest.mark.parametrize("at, kept", [(0, 1), (3, 4), (5, 6)])
def test_a_cancel_keeps_what_is_done(perform, ledger, at, kept):
    job = perform(looping.cancel_itself, ledger, range(12), at, policy=NeverRetry)
    assert job.result.check(CancelledError)
    once(ledger, range(kept))
    assert job._cursors == {(1,): (kept, None, False)}


@pytest.mark.parametrize("at, kept", [(2, 0), (5, 4), (7, 4), (8, 8)])
def test_past_its_timeout_nothing_is_committed(perform, ledger, at, kept):
    job = perform(looping.outlive_timeout, ledger, range(12), at, policy=NeverRetry)
    assert job.result.check(JobTimeoutError)
    once(ledger, range(kept))


def test_a_worker_that_stops_gives_it_back_and_another_goes_on(
    queue, ledger, start_dispatcher
):
    first = start_dispatcher()
    job = queue.put(Job(looping.stop_in_the_middle, ledger, range(12), 6))
    transaction.commit()
    assert work.gate("at").wait(20)
    tear_down_dispatcher(first)
    transaction.begin()
    assert list(queue) == [job]
    assert job._status == 0
    assert job._tries == 0
    once(ledger, range(7))
    start_dispatcher()
    assert wait_for_result(job, 20) == [1]
    assert looping.visits == list(range(12))
    once(ledger, range(12))


# Progress


def test_a_loop_reports_where_it_is(perform):
    job = perform(looping.progress_of_loop, list(range(10)))
    assert job.result is None
    assert job.annotations["said"] == (9, 10, None, None)


def test_what_the_function_reports_comes_first(perform):
    job = perform(looping.own_progress, list(range(10)))
    assert job.result is None
    assert job.annotations["said"] == (77, 100, None, None)
