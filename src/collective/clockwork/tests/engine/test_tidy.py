"""What is idle, old or gone is removed, and nothing else."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import DRAIN_UUID
from collective.clockwork.engine.testing import set_now
from collective.clockwork.engine.tidy import forget_gone_dispatchers
from collective.clockwork.engine.tidy import forget_old_jobs
from collective.clockwork.engine.tidy import IDLE_INTAKE
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


def test_an_intake_that_was_idle_for_an_hour_is_closed(db, root, queue, tidier):
    queue.put(work.answer)
    transaction.commit()
    drain(db)
    transaction.begin()
    tidier.tidy(queue.parent)
    pass_time(IDLE_INTAKE + MOMENT)
    tidier.tidy(queue.parent)
    transaction.commit()
    assert used_intakes(queue) == set()


def test_a_producer_whose_intake_was_closed_gets_another(db, queue, tidier):
    queue.put(work.answer)
    transaction.commit()
    drain(db)
    transaction.begin()
    tidier.tidy(queue.parent)
    pass_time(IDLE_INTAKE + MOMENT)
    tidier.tidy(queue.parent)
    transaction.commit()
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
