"""Ids for new objects that ZEO gives out twice, after its server was started again."""

from __future__ import annotations

from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.objectids import give_up_when_connected
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import takenids
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine import zeoprocess

import pytest
import transaction


@pytest.fixture
def db(zeo_db):
    """A database in a ZEO server, with the default queue."""
    return zeo_db


@pytest.fixture
def counter(root):
    root["victim"] = work.Counter()
    root["counter"] = work.Counter()
    transaction.commit()
    takenids.left[0] = 1
    return root["counter"]


def run(queue, job, start_dispatcher):
    queue.put(job)
    transaction.commit()
    start_dispatcher(poll_interval=0.1)
    return wait_for_result(job)


@pytest.mark.parametrize("function", [takenids.grow, takenids.grow_with_savepoint])
@pytest.mark.parametrize("is_loaded", [True, False])
def test_a_job_that_met_a_taken_id_is_run_again(
    root, queue, counter, start_dispatcher, function, is_loaded
):
    victim = root["victim"]
    job = Job(function, counter, victim, is_loaded)
    assert run(queue, job, start_dispatcher) is None
    assert takenids.left == [0]
    assert counter.count == 1
    assert counter.part._p_oid != victim._p_oid
    assert victim.count == 0


def test_a_job_does_not_meet_all_ids_that_are_taken(
    root, queue, counter, start_dispatcher
):
    takenids.left[0] = 50
    job = Job(takenids.grow, counter, root["victim"])
    assert run(queue, job, start_dispatcher) is None
    assert counter.count == 1


def test_an_object_whose_id_was_given_out_is_not_stored_as_a_copy(
    root, queue, counter, start_dispatcher
):
    victim = root["victim"]
    keeper = root["keeper"] = work.Counter()
    keeper.child = victim
    transaction.commit()
    job = Job(takenids.grow_beside, counter, keeper)
    assert run(queue, job, start_dispatcher) is None
    assert keeper.count == 1
    assert keeper.child is victim


def test_a_job_whose_own_id_was_given_out_is_run_again_from_its_record(
    queue, counter, start_dispatcher
):
    job = Job(takenids.grow_as_self, counter)
    assert run(queue, job, start_dispatcher) is None
    assert takenids.left == [0]
    assert counter.count == 1


@pytest.mark.parametrize(
    "function", [takenids.grow_as_self, takenids.commit_and_grow_as_self]
)
def test_a_callback_whose_own_id_was_given_out_is_run_again(
    queue, counter, start_dispatcher, function
):
    job = Job(work.answer)
    callback = job.addCallback(Job(function, counter))
    assert run(queue, job, start_dispatcher) == 42
    assert takenids.left == [0]
    assert callback.status == COMPLETED
    assert counter.count == 1


def test_a_job_whose_id_its_callback_met_is_not_taken_for_done(
    queue, counter, start_dispatcher
):
    job = Job(work.answer)
    job.addCallback(Job(takenids.grow_as_parent, counter))
    assert run(queue, job, start_dispatcher) == 42
    assert takenids.left == [0]
    assert counter.count == 1


def test_a_client_uses_no_ids_of_before_the_server_was_started_again(server):
    db = zeoprocess.open_database(server.port, ["main"])
    give_up_when_connected(db)
    give_up_when_connected(db)
    db.storage.new_oid()
    server.process.kill()
    wait_until(lambda: not db.storage.is_connected(), "end", zeoprocess.PATIENCE)
    server.start()
    wait_until(db.storage.is_connected, "connection", zeoprocess.PATIENCE)
    other = zeoprocess.open_database(server.port, ["main"])
    mine = {db.storage.new_oid() for _ in range(50)}
    theirs = {other.storage.new_oid() for _ in range(50)}
    assert not mine & theirs
    db.close()
    other.close()
