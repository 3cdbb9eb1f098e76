"""What is idle, old or gone is removed, and nothing else."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import DRAIN_UUID
from collective.clockwork.engine.testing import set_now
from collective.clockwork.engine.tidy import forget_gone_dispatchers
from collective.clockwork.engine.tidy import forget_old_jobs
from collective.clockwork.engine.tidy import IDLE_INTAKE
from collective.clockwork.engine.tidy import INTERVAL
from collective.clockwork.engine.tidy import Tidier
from collective.clockwork.tests.engine import work
from datetime import timedelta
from uuid import uuid4

import pytest
import transaction


MOMENT = timedelta(seconds=1)


@pytest.fixture
def tidier(db):
    set_now(clock.now())
    return Tidier()


def pass_time(duration):
    set_now(clock.now() + duration)


def used_intakes(queue):
    return set(queue.intakes.by_name) - set(queue.intakes.stock)


def leave_idle(db, queue, tidier):
    """Put and run a job, and let an hour pass: its intake is retired."""
    queue.put(work.answer)
    transaction.commit()
    drain(db)
    transaction.begin()
    tidier.tidy(queue.parent)
    pass_time(IDLE_INTAKE + MOMENT)
    tidier.tidy(queue.parent)
    transaction.commit()


def tidy_later(queue, tidier):
    transaction.begin()
    pass_time(INTERVAL + MOMENT)
    tidier.tidy(queue.parent)
    transaction.commit()


def test_an_intake_that_was_idle_for_an_hour_is_retired_and_closed(db, queue, tidier):
    leave_idle(db, queue, tidier)
    (name,) = used_intakes(queue)
    intake = queue.intakes.by_name[name]
    assert not intake.usable and not intake.closed
    tidy_later(queue, tidier)
    assert used_intakes(queue) == set()
    assert intake.closed


def test_a_put_that_was_under_way_when_its_intake_retired_arrives(
    db, queue, tidier, elsewhere
):
    producer = elsewhere()
    there = producer.root()[KEY][""]
    there.put(work.answer)
    producer.transaction_manager.commit()
    drain(db)
    # The producer's transaction has begun, and does not see what comes now.
    producer.transaction_manager.begin()
    there.intakes.by_name.values()
    transaction.begin()
    leave_idle(db, queue, tidier)
    late = there.put(work.answer)
    producer.transaction_manager.commit()
    tidy_later(queue, tidier)
    assert len(queue) == 1
    assert drain(db) == 1
    producer.transaction_manager.begin()
    assert late.result == 42
    tidy_later(queue, tidier)
    assert used_intakes(queue) == set()


def test_a_producer_whose_intake_was_retired_gets_another(db, queue, tidier):
    leave_idle(db, queue, tidier)
    (before,) = used_intakes(queue)
    queue.put(work.answer)
    transaction.commit()
    assert len(used_intakes(queue)) == 2
    assert not len(queue.intakes.by_name[before])
    assert drain(db) == 1


def test_a_producer_whose_intake_was_closed_gets_another(db, queue, tidier):
    leave_idle(db, queue, tidier)
    tidy_later(queue, tidier)
    job = queue.put(work.answer)
    transaction.commit()
    assert drain(db) == 1
    transaction.begin()
    assert job.result == 42


def test_an_intake_with_a_waiting_job_stays(queue, tidier):
    queue.put(work.answer)
    transaction.commit()
    tidier.tidy(queue.parent)
    pass_time(IDLE_INTAKE + MOMENT)
    tidier.tidy(queue.parent)
    assert len(used_intakes(queue)) == 1
    assert len(queue) == 1


def test_an_intake_in_use_stays(db, queue, tidier):
    for _ in range(3):
        queue.put(work.answer)
        transaction.commit()
        drain(db)
        transaction.begin()
        tidier.tidy(queue.parent)
        pass_time(IDLE_INTAKE / 2 + MOMENT)
    tidier.tidy(queue.parent)
    assert len(used_intakes(queue)) == 1


def test_it_is_due_every_ten_minutes(tidier):
    assert not tidier.is_due()
    pass_time(timedelta(minutes=10))
    assert tidier.is_due()
    tidier.tidy({})
    assert not tidier.is_due()


def test_finished_jobs_stay_for_a_week(db, queue, tidier):
    queue.put(work.answer)
    transaction.commit()
    drain(db)
    transaction.begin()
    completed = queue.dispatchers[DRAIN_UUID]["main"].completed
    forget_old_jobs(queue, clock.now_us())
    assert len(completed) == 1
    pass_time(timedelta(days=7) + MOMENT)
    forget_old_jobs(queue, clock.now_us())
    assert len(completed) == 0


def test_a_stopped_worker_without_finished_jobs_is_forgotten(queue, tidier):
    uuid = uuid4()
    agents = queue.dispatchers.register(uuid)
    agents["main"] = Agent()
    agents.activate("boot")
    pass_time(IDLE_INTAKE + MOMENT)
    forget_gone_dispatchers(queue)
    assert uuid in queue.dispatchers, "it is activated"
    agents.deactivate()
    forget_gone_dispatchers(queue)
    assert uuid not in queue.dispatchers


def test_a_stopped_worker_with_finished_jobs_is_kept(db, queue, tidier):
    queue.put(work.answer)
    transaction.commit()
    drain(db)
    transaction.begin()
    queue.dispatchers[DRAIN_UUID].deactivate()
    pass_time(IDLE_INTAKE + MOMENT)
    forget_gone_dispatchers(queue)
    assert DRAIN_UUID in queue.dispatchers
