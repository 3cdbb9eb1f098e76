"""Finished jobs: newest first, and forgotten after their time."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine.completed import CHUNK
from collective.clockwork.engine.completed import Chunk
from collective.clockwork.engine.completed import Completed
from collective.clockwork.engine.completed import DROPPED_AT_ONCE
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import set_now
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.moments import NOW
from datetime import timedelta

import pytest
import random
import transaction


MINUTE = timedelta(minutes=1)


@pytest.fixture
def completed(frozen, root):
    made = root["completed"] = Completed()
    transaction.commit()
    return made


def fill(completed, count: int) -> list:
    """One job a minute from NOW on."""
    jobs = []
    for number in range(count):
        set_now(NOW + number * MINUTE)
        job = Job(work.mirror, number)
        jobs.append(job)
        completed.add(job)
    transaction.commit()
    return jobs


def test_an_empty_collection(completed):
    assert len(completed) == 0
    assert not completed
    assert list(completed) == []
    with pytest.raises(ValueError, match="no completed job"):
        completed.first()
    with pytest.raises(ValueError, match="no completed job"):
        completed.last()


def test_the_newest_come_first(completed):
    jobs = fill(completed, 3 * CHUNK + 1)
    assert list(completed) == jobs[::-1]
    assert len(completed) == len(jobs)
    assert completed.first() is jobs[-1]
    assert completed.last() is jobs[0]


def test_a_period_is_looked_up_by_its_ends(completed):
    jobs = fill(completed, 2 * CHUNK)
    newest, oldest = NOW + 50 * MINUTE, NOW + 10 * MINUTE
    found = list(completed.iter(newest, oldest))
    assert found == jobs[50:10:-1]
    assert completed.first(newest) is jobs[50]
    assert completed.first(newest + MINUTE / 2) is jobs[50]
    assert completed.last(oldest) is jobs[11]
    with pytest.raises(ValueError, match="none at"):
        completed.first(NOW - MINUTE)
    with pytest.raises(ValueError, match="none at"):
        completed.last(NOW + 1000 * MINUTE)


def test_jobs_of_one_moment_keep_their_order(completed):
    jobs = [Job(work.mirror, number) for number in range(2 * CHUNK)]
    completed.extend(jobs[:CHUNK])
    completed.extend(jobs[CHUNK:])
    assert list(completed) == jobs[::-1]


def test_a_clock_that_was_set_back_does_not_change_the_order(completed):
    jobs = fill(completed, CHUNK)
    set_now(NOW - 60 * MINUTE)
    late = [Job(work.mirror, number) for number in range(CHUNK)]
    completed.extend(late)
    assert list(completed) == [*late[::-1], *jobs[::-1]]


def test_jobs_are_forgotten_after_a_week(completed):
    assert completed.period == timedelta(days=7)
    jobs = fill(completed, 2 * CHUNK)
    set_now(NOW + timedelta(days=7) + CHUNK * MINUTE)
    last = Job(work.answer)
    completed.add(last)
    assert list(completed) == [last, *jobs[: CHUNK - 1 : -1]]


def test_the_period_can_be_changed(completed):
    with pytest.raises(ValueError, match="longer than nothing"):
        completed.period = timedelta()
    fill(completed, 2 * CHUNK)
    completed.period = timedelta(minutes=1)
    set_now(NOW + timedelta(days=1))
    completed.add(Job(work.answer))
    assert len(completed) == 1


def test_one_sweep_drops_a_bounded_number(completed):
    fill(completed, (DROPPED_AT_ONCE + 2) * CHUNK)
    set_now(NOW + timedelta(days=30))
    completed.add(Job(work.answer))
    assert len(completed) == 2 * CHUNK + 1
    completed.add(Job(work.answer))
    assert len(completed) == 2


def test_a_job_can_be_removed_and_all_can_be_forgotten(completed):
    jobs = fill(completed, 3)
    assert completed.remove(jobs[1])
    assert list(completed) == [jobs[2], jobs[0]]
    assert not completed.remove(jobs[1])
    completed.clear()
    assert not completed


def test_a_chunk_whose_jobs_were_all_removed_does_no_harm(completed):
    for job in fill(completed, CHUNK):
        assert completed.remove(job)
    assert list(completed) == []
    set_now(NOW + timedelta(days=30))
    job = Job(work.answer)
    completed.add(job)
    assert list(completed) == [job]
    assert completed.first() is job


def test_an_emptied_chunk_among_others_is_forgotten_too(completed):
    jobs = fill(completed, 2 * CHUNK)
    for job in jobs[:CHUNK]:
        assert completed.remove(job)
    assert list(completed) == jobs[: CHUNK - 1 : -1]
    set_now(NOW + timedelta(days=30))
    last = Job(work.answer)
    completed.add(last)
    assert list(completed) == [last]


def test_finished_jobs_arrive_in_the_order_of_their_end(db, root, queue):
    jobs = []
    for number in range(5):
        jobs.append(queue.put(Job(work.mirror, number)))
        transaction.commit()
    drain(db)
    transaction.begin()
    agent = next(iter(queue.dispatchers.values()))["main"]
    assert list(agent.completed) == jobs[::-1]
    assert all(job.agent is agent for job in jobs)


@pytest.mark.parametrize("seed", range(5))
def test_the_number_is_right_whatever_comes_and_goes(completed, seed):
    chance = random.Random(seed)
    moment = NOW
    completed.period = timedelta(hours=2)
    for _step in range(150):
        moment += MINUTE
        set_now(moment)
        jobs = list(completed)
        what = chance.random()
        if what < 0.5 or not jobs:
            count = chance.choice((1, 3, CHUNK))
            completed.extend([Job(work.mirror, number) for number in range(count)])
        elif what < 0.9:
            # The newest ones too, until their chunk is empty.
            for job in jobs[: chance.choice((1, 2, CHUNK + 5))]:
                assert completed.remove(job)
        elif what < 0.95:
            moment += timedelta(hours=chance.choice((1, 3)))
        else:
            completed.clear()
        assert len(completed) == len(list(completed))


def test_the_number_is_told_by_the_newest_chunk_alone(completed, elsewhere):
    fill(completed, 4 * CHUNK)
    connection = elsewhere()
    seen = connection.get(completed._p_oid)
    assert len(seen) == 4 * CHUNK
    chunks = list(seen.chunks.values())
    assert [chunk._p_changed is None for chunk in chunks] == [True] * 3 + [False]


def test_a_collection_that_has_no_count_yet_gets_one(completed):
    jobs = fill(completed, 2 * CHUNK)
    for chunk in completed.chunks.values():
        del chunk.total
    del completed._left
    assert len(completed) == len(jobs)
    assert completed.remove(jobs[3])
    completed.add(Job(work.answer))
    assert completed.first().callable is work.answer
    assert len(completed) == len(jobs)
    assert completed.chunks[completed.chunks.maxKey()].total == len(jobs) + 1


def test_forgetting_old_jobs_and_adding_new_ones_do_not_conflict(completed, elsewhere):
    fill(completed, 3 * CHUNK - 1)
    other = elsewhere()
    there = other.get(completed._p_oid)
    assert len(there) == 3 * CHUNK - 1
    completed.add(Job(work.answer))
    there.forget(clock.to_us(NOW + CHUNK * MINUTE))
    transaction.commit()
    other.transaction_manager.commit()
    transaction.begin()
    assert len(completed) == len(list(completed)) == 2 * CHUNK


def test_adding_writes_one_small_record(completed):
    fill(completed, CHUNK // 2)
    completed.add(Job(work.answer))
    (written,) = completed._p_jar._registered_objects
    assert isinstance(written, Chunk)
