"""Unique jobs that are to wait again by hand: their key may be another's by now."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine import deaths
from collective.clockwork.engine import quarantine
from collective.clockwork.engine import unique
from collective.clockwork.engine.errors import DuplicateJobError
from collective.clockwork.engine.interfaces import PENDING
from collective.clockwork.engine.interfaces import QUARANTINED
from collective.clockwork.engine.job import Job
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.keyed import commit
from collective.clockwork.tests.engine.keyed import end_by_run_all
from collective.clockwork.tests.engine.keyed import HOUR
from collective.clockwork.tests.engine.keyed import keys
from collective.clockwork.tests.engine.keyed import put
from collective.clockwork.tests.engine.keyed import queue_of
from ZODB.POSException import ConflictError

import pytest
import transaction


@pytest.fixture
def aside(queue):
    """A unique job that was set aside."""
    job = put(queue)
    transaction.commit()
    assert queue.claim() is job
    job._deaths = deaths.Evidence()
    quarantine.set_aside(queue, job, clock.now_us())
    transaction.commit()
    return job


@pytest.fixture
def taken(queue):
    """A unique job that somebody has claimed by hand."""
    job = put(queue)
    transaction.commit()
    assert queue.claim() is job
    transaction.commit()
    return job


def take_key(queue):
    """Queue another job of the key, which does not ask who has it."""
    other = put(queue, debounce=HOUR)
    transaction.commit()
    return other


def is_unchanged(queue) -> bool:
    return not queue._p_jar._registered_objects


# Out of quarantine


def test_a_released_job_has_its_key_again(queue, aside):
    queue.quarantine.release(aside)
    transaction.commit()
    assert unique.holder(queue, "k") is aside
    with pytest.raises(DuplicateJobError):
        put(queue)


def test_one_whose_key_was_taken_is_not_released(queue, aside):
    other = take_key(queue)
    with pytest.raises(DuplicateJobError, match="before that one has ended") as caught:
        queue.quarantine.release(aside)
    assert caught.value.job is other
    assert is_unchanged(queue)
    assert aside.status == QUARANTINED
    assert list(queue) == [other]
    assert unique.holder(queue, "k") is other


def test_it_is_released_when_the_other_has_ended(db, queue, aside):
    other = put(queue, debounce=HOUR)
    transaction.commit()
    other.cancel()
    queue.quarantine.release(aside)
    assert unique.holder(queue, "k") is aside
    end_by_run_all(db)
    transaction.begin()
    assert aside.result == 42


def test_it_is_discarded_whoever_has_its_key(queue, aside):
    other = take_key(queue)
    queue.quarantine.discard(aside)
    assert unique.holder(queue, "k") is other


def test_of_a_release_and_a_put_at_one_moment_one_wins(queue, aside, elsewhere):
    one, two = elsewhere(), elsewhere()
    here = queue_of(one)
    here.quarantine.release(one.get(aside._p_oid))
    put(queue_of(two), debounce=HOUR)
    commit(two)
    with pytest.raises(ConflictError):
        commit(one)


def test_a_release_beside_a_put_of_another_key_wins(queue, aside, elsewhere):
    one, two = elsewhere(), elsewhere()
    here = queue_of(one)
    here.quarantine.release(one.get(aside._p_oid))
    put(queue_of(two), key="l")
    assert here.keys.bucket("k")._p_oid != here.keys.bucket("l")._p_oid
    commit(two)
    commit(one)


# Back into the queue


def test_one_that_is_put_back_has_its_key_again(queue, taken):
    assert unique.holder(queue, "k") is None
    queue.putBack(taken)
    transaction.commit()
    assert taken.status == PENDING
    assert unique.holder(queue, "k") is taken


def test_one_whose_key_was_taken_is_not_put_back(queue, taken):
    other = put(queue)
    transaction.commit()
    with pytest.raises(DuplicateJobError) as caught:
        queue.putBack(taken)
    assert caught.value.job is other
    assert is_unchanged(queue)
    assert list(queue) == [other]


def test_a_new_one_that_is_put_back_takes_its_key(queue):
    job = Job(work.answer)
    job.unique = "k"
    queue.putBack(job)
    transaction.commit()
    assert unique.holder(queue, "k") is job


def test_one_without_a_key_needs_none(queue):
    queue.put(Job(work.answer))
    transaction.commit()
    job = queue.claim()
    queue.putBack(job)
    assert keys(queue) == set()
    assert list(queue) == [job]
