"""Jobs of a higher priority go first, wherever they wait."""

from __future__ import annotations

from collective.clockwork.engine import claims
from collective.clockwork.engine import clock
from collective.clockwork.engine.claims import Claim
from collective.clockwork.engine.errors import OptionError
from collective.clockwork.engine.intake import Intake
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.rounds import Rounds
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import set_now
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.tidy import Tidier
from collective.clockwork.tests.engine import prioritized
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.dispatching import wait_for_agents
from datetime import timedelta
from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies

import pytest
import transaction


@pytest.fixture
def put(queue):
    """Puts a job that mirrors its name, in a transaction of its own."""
    queue.quotas.create("one")
    queue.quotas.create("two", 2)

    def put_one(name, priority=0, quotas=(), **options):
        job = Job(work.mirror, name)
        job.quota_names = quotas
        queue.put(job, priority=priority, **options)
        transaction.commit()
        return job

    return put_one


def names(jobs) -> list:
    return [job.args[0] for job in jobs]


def take(queue, limit=1, accepts=lambda job: True, **options) -> list:
    """Names of what a worker claims, which is then withdrawn from quotas."""
    claim = Claim(queue, accepts, limit, clock.now_us(), **options)
    jobs = [entry[0] for run in claim.take() for entry in run]
    transaction.commit()
    return names(jobs)


def move_to_lanes(queue) -> None:
    """As by a worker whose filter accepts nothing."""
    assert take(queue, accepts=lambda job: False) == []


def claim_all(queue) -> list:
    found = []
    while (job := queue.claim()) is not None:
        found.append(job.args[0])
        for quota in queue.quotas.values():
            quota.discard([job])
        transaction.commit()
    return found


@pytest.mark.parametrize("priority", [101, -101, 1.0, True, "1", None])
def test_what_is_no_priority_is_refused_and_nothing_is_stored(queue, priority):
    with pytest.raises(OptionError, match="from -100 to 100"):
        queue.put(work.answer, priority=priority)
    transaction.commit()
    assert len(queue) == 0


@pytest.mark.parametrize("arrived", [True, False])
def test_a_higher_one_goes_first_and_equal_ones_as_they_were_queued(
    queue, put, arrived
):
    for name, priority in [("a", 0), ("b", 5), ("c", -5), ("d", 5), ("e", 0)]:
        put(name, priority)
    if arrived:
        move_to_lanes(queue)
    expected = ["b", "d", "a", "e", "c"]
    assert names(queue) == expected
    assert [queue[n].args[0] for n in range(5)] == expected
    assert queue[-1].args == ["c"]
    assert claim_all(queue) == expected


def test_one_that_arrives_passes_what_waits_in_lanes(queue, put):
    for name in "abc":
        put(name, 1)
    move_to_lanes(queue)
    put("late and low")
    put("late and high", 2)
    assert claim_all(queue) == ["late and high", "a", "b", "c", "late and low"]


def test_a_thousand_in_front_hold_up_nothing(queue, put):
    for number in range(1000):
        queue.put(Job(work.mirror, number))
    transaction.commit()
    put("urgent", 1)
    assert take(queue) == ["urgent"]


def test_a_thousand_behind_a_full_quota_hold_up_nothing(queue, put):
    put("blocks", quotas=("one",))
    assert take(queue) == ["blocks"]
    for number in range(1000):
        job = Job(work.mirror, number)
        job.quota_names = ("one",)
        queue.put(job, priority=50)
    transaction.commit()
    put("low and free", -1)
    # What arrives above it is moved out of its way first.
    found: list = []
    for _ in range(1000 // claims.MOVED_AT_ONCE + 1):
        found += take(queue)
    assert found == ["low and free"]
    assert len(queue) == 1000


def test_what_falls_due_at_one_moment_passes_a_higher_one_for_few_claims(
    queue, put, monkeypatch
):
    set_now(clock.now())
    monkeypatch.setattr(claims, "MOVED_AT_ONCE", 20)
    for number in range(50):
        due = clock.now() + timedelta(seconds=1 + number / 1000)
        queue.put(Job(work.mirror, number), begin_after=due)
    urgent = clock.now() + timedelta(seconds=2)
    queue.put(Job(work.mirror, "urgent"), begin_after=urgent, priority=1)
    transaction.commit()
    while queue.schedule.length < 51:
        assert take(queue) == []
    set_now(clock.now() + timedelta(seconds=3))
    assert queue[0].args == ["urgent"]
    # Each claim moves 20, those first that were due first.
    assert [take(queue) for _ in range(3)] == [[0], [1], ["urgent"]]


def test_several_producers_are_merged(queue, put, elsewhere):
    others = [elsewhere() for _ in range(3)]
    for number, priority in [(0, 1), (1, 2), (2, 1), (0, 2), (1, 0), (2, 0), (0, 1)]:
        theirs = others[number].root()[KEY][""]
        others[number].transaction_manager.begin()
        job = Job(work.mirror, (priority, len(queue)))
        theirs.put(job, priority=priority)
        others[number].transaction_manager.commit()
        transaction.begin()
    expected = [(2, 1), (2, 3), (1, 0), (1, 2), (1, 6), (0, 4), (0, 5)]
    assert names(queue) == expected
    assert claim_all(queue) == expected


@pytest.mark.parametrize("run_length", [1, 4])
def test_inside_a_quota_of_one_a_higher_one_goes_first(queue, put, run_length):
    for name, priority in [("a", 0), ("b", 1), ("c", 0), ("d", 1), ("e", 2)]:
        put(name, priority, ("one",))
    found: list = []
    while len(found) < 5:
        runs = Claim(queue, lambda job: True, 9, clock.now_us(), run_length).take()
        # What is claimed at once is run one after the other, by one thread.
        (run,) = runs
        found += names(entry[0] for entry in run)
        queue.quotas["one"].discard([entry[0] for entry in run])
        transaction.commit()
    assert found == ["e", "b", "d", "a", "c"]


def test_a_quota_counts_all_priorities_together(queue, put):
    for number in range(5):
        put(number, number, ("two",))
    assert take(queue, 9) == [4, 3]
    assert take(queue, 9) == []
    assert len(queue.quotas["two"]) == 2


def test_a_job_of_two_quotas_waits_for_both(queue, put):
    put("blocks", quotas=("one",))
    assert take(queue) == ["blocks"]
    put("both", 7, ("one", "two"))
    put("low", 0, ("two",))
    assert take(queue, 9) == ["low"]
    queue.quotas["one"].discard(list(queue.quotas["one"]))
    assert take(queue, 9) == ["both"]


def test_one_that_is_put_back_is_in_front_of_its_priority_only(queue, put):
    first, _second = put("first"), put("second")
    assert queue.claim() is first
    put("high", 1)
    queue.putBack(first)
    transaction.commit()
    assert names(queue) == ["high", "first", "second"]
    assert claim_all(queue) == ["high", "first", "second"]


def test_held_ones_fall_due_by_priority(queue, put):
    set_now(clock.now())
    for name, priority, seconds in [("a", 0, 1), ("b", 1, 3), ("c", 0, 2), ("d", 1, 2)]:
        put(name, priority, begin_after=clock.now() + timedelta(seconds=seconds))
    move_to_lanes(queue)
    set_now(clock.now() + timedelta(seconds=5))
    assert names(queue) == ["d", "b", "a", "c"]
    assert claim_all(queue) == ["d", "b", "a", "c"]


def test_one_that_snoozes_or_is_tried_again_keeps_its_priority(db, queue, ledger):
    set_now(clock.now())
    queue.put(Job(prioritized.note_at_second, ledger, "snoozes"), priority=3)
    again = Job(prioritized.raise_at_first, ledger, "fails")
    queue.put(again, priority=2, retry_policy_factory=work.AtOnce)
    queue.put(Job(work.note, ledger, "plain"), priority=1)
    transaction.commit()
    drain(db)
    set_now(clock.now() + timedelta(seconds=5))
    transaction.begin()
    queue.put(Job(work.note, ledger, "other"), priority=1)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert list(ledger.values()) == ["fails", "plain", "snoozes", "other"]


@pytest.mark.parametrize("inner", [-3, 0, 3])
def test_an_inner_job_is_lent_the_place_of_its_outer_one(db, queue, ledger, inner):
    queue.quotas.create("one")
    outer = Job(prioritized.put_inner, ledger, inner)
    waits = Job(work.note, ledger, "waits")
    outer.quota_names = waits.quota_names = ("one",)
    queue.put(outer, priority=1)
    queue.put(waits, priority=2 if inner < 3 else 0)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert set(ledger.values()) == {"inner", "waits"}
    assert outer.result == "inner"
    assert len(queue) == 0


def test_quotas_that_change_while_it_waits_leave_it_its_priority(queue, put):
    put("blocks", quotas=("one",))
    assert take(queue) == ["blocks"]
    first, second = put("first", 1, ("one",)), put("second", 4, ("one",))
    move_to_lanes(queue)
    second.quota_names = ("two",)
    transaction.commit()
    put("third", 2, ("two",))
    assert take(queue) == ["second"]
    first.quota_names = ()
    transaction.commit()
    assert claim_all(queue) == ["third", "first"]


def test_a_quota_that_is_removed_leaves_priorities(queue, put):
    put("blocks", quotas=("one",))
    assert take(queue) == ["blocks"]
    for name, priority in [("low", 0), ("high", 4), ("middle", 1)]:
        put(name, priority, ("one",))
    move_to_lanes(queue)
    queue.quotas.remove("one")
    transaction.commit()
    assert claim_all(queue) == ["high", "middle", "low"]


def test_a_filter_that_refuses_much_comes_to_lower_ones(queue, put, monkeypatch):
    monkeypatch.setattr(claims, "REFUSED_AT_ONCE", 5)
    for number in range(12):
        put(number, 1, ("one",))
    put("low", 0, ("one",))
    put("free")
    move_to_lanes(queue)
    rounds = Rounds()

    def accepts(job):
        return isinstance(job.args[0], str)

    found: list = []
    for _ in range(6):
        found += take(queue, 1, accepts, rounds=rounds)
    # In a quota, none passes those of it that were not looked at.
    assert found == ["free", "low"]


def test_intakes_of_before_have_the_priority_0(queue, put):
    put("old")
    intake = next(one for one in queue.intakes.values() if len(one))
    assert "priority" not in vars(intake) and Intake.priority == 0
    put("low", -1)
    put("high", 1)
    assert claim_all(queue) == ["high", "old", "low"]


def test_a_queue_that_is_not_committed_has_an_intake_for_each():
    queue = Queue()
    for number, priority in enumerate([0, 5, 0, 5, -5]):
        queue.put(Job(work.mirror, number), priority=priority)
    assert names(queue) == [1, 3, 0, 2, 4]
    assert sum(len(intake) > 0 for intake in queue.intakes.values()) == 3
    assert [queue.claim().args[0] for _ in range(5)] == [1, 3, 0, 2, 4]


def test_the_transaction_that_queues_sees_the_order(queue):
    for number, priority in enumerate([0, 5, -5, 5]):
        queue.put(Job(work.mirror, number), priority=priority)
    assert names(queue) == [1, 3, 0, 2]
    assert [queue.claim().args[0] for _ in range(4)] == [1, 3, 0, 2]


def test_idle_intakes_of_any_priority_are_retired_and_closed(queue, put, monkeypatch):
    moment = [0.0]
    monkeypatch.setattr(clock, "monotonic", lambda: moment[0])
    set_now(clock.now())
    tidier = Tidier()
    put("a", 5)
    used = [i for n, i in queue.intakes.items() if n not in queue.intakes.stock]
    assert claim_all(queue) == ["a"]
    for _ in range(4):
        tidier.tidy(queue.parent)
        transaction.commit()
        moment[0] += 4000
        set_now(clock.now() + timedelta(seconds=4000))
    assert all(intake.closed for intake in used)
    put("b", 5)
    put("c", 6)
    assert claim_all(queue) == ["c", "b"]


def test_a_removed_one_is_gone_and_the_others_keep_their_order(queue, put):
    put("a", 1), put("b", 2), put("c", 3)
    queue.remove(queue[1])
    transaction.commit()
    move_to_lanes(queue)
    queue.remove(queue[0])
    transaction.commit()
    assert claim_all(queue) == ["a"]


def test_busy_threads_take_the_higher_one_next(queue, start_dispatcher, ledger):
    dispatcher = start_dispatcher()
    wait_for_agents(queue, dispatcher)
    busy = [queue.put(Job(work.pass_gate, f"busy {n}")) for n in range(3)]
    transaction.commit()
    for number in range(3):
        assert work.gate(f"busy {number} begun").wait(20)
    for number in range(1000):
        queue.put(Job(work.note, ledger, number))
    transaction.commit()
    urgent = queue.put(Job(prioritized.count, ledger), priority=1)
    transaction.commit()
    for number in range(3):
        work.gate(f"busy {number}").set()
    for job in busy:
        wait_for_result(job)
    # Besides those that the threads had been given already.
    assert wait_for_result(urgent) < 200


@settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    strategies.lists(
        strategies.tuples(
            strategies.integers(-2, 2),
            strategies.sampled_from([(), ("one",), ("two",), ("one", "two")]),
            strategies.booleans(),
        ),
        max_size=25,
    )
)
def test_the_list_is_the_order_of_claims(queue, put, rows):
    for number, (priority, quotas, moves) in enumerate(rows):
        put(number, priority, quotas)
        if moves:
            move_to_lanes(queue)
    listed = names(queue)
    ranks = [(-rows[number][0], number) for number in listed]
    assert ranks == sorted(ranks)
    assert claim_all(queue) == listed
