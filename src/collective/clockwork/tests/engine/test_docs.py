"""The examples in docs/engine.rst, in their order."""

from __future__ import annotations

from collective.clockwork.engine import dispatcher
from collective.clockwork.engine.failure import Failure
from collective.clockwork.engine.interfaces import IQueue
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.interfaces import PENDING
from collective.clockwork.engine.job import isFailure
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.codeblocks import Examples
from collective.clockwork.tests.engine import work
from datetime import timedelta

import math
import pytest
import transaction


@pytest.fixture
def example(queue, db, monkeypatch):
    """Runs an example of those that have a queue already."""
    return Examples(
        "docs/engine.rst",
        monkeypatch,
        db=db,
        queue=queue,
        Job=Job,
        math=math,
        transaction=transaction,
    )


@pytest.fixture
def named_worker(tmp_path, monkeypatch):
    """Keeps the UUID of this process's worker out of the working directory."""
    monkeypatch.setenv("ZC_ASYNC_UUID", str(tmp_path / "uuid.txt"))


def test_the_first_example_runs_as_it_is(components, named_worker, monkeypatch):
    first = Examples("docs/engine.rst", monkeypatch)("first.py")
    assert first.result == 120
    dispatcher.pop(first.dispatcher.UUID)


def test_the_quota_example(example, db):
    module = example("quota.py")
    assert drain(db) == 1
    transaction.begin()
    assert module.job.result == 720


def test_the_delay_example(example, db):
    module = example("later.py")
    assert drain(db) == 0
    assert module.held.status == PENDING


def test_the_callback_example(example, db):
    module = example("callbacks.py")
    drain(db)
    transaction.begin()
    assert module.job.result == 120
    assert module.doubled.result == math.ldexp(1, 120)
    assert module.job.callbacks[1].result == math.sqrt(120)


def test_the_batch_example(example, db):
    module = example("batch.py")
    drain(db)
    transaction.begin()
    for batch in (module.steps, module.both):
        assert [job.result for job in batch.result] == [6, 24]


def test_the_example_of_asking_from_inside(example, queue, db):
    job = queue.put(example("asking.py").long_work)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert dict(job.annotations) == {"done": 9}


def test_the_examples_of_looking_at_a_result(example, queue, db):
    good, bad = queue.put(Job(math.sqrt, 4)), queue.put(Job(math.sqrt, -1))
    odd = queue.put(Job(math.fmod, 1, "x"))
    transaction.commit()
    module = example("looking.py")
    assert module.look(good) == "not yet"
    drain(db)
    transaction.begin()
    assert module.look(good) == 2
    assert module.look(bad) == bad.result.getErrorMessage()
    module = example("failure.py")
    assert module.why(odd).startswith("TypeError: ")


def test_the_postprocess_example(example, db):
    module = example("postprocess.py")
    drain(db)
    transaction.begin()
    assert module.total.result == 30


def test_the_policy_example(example, queue, db):
    module = example("policy.py")
    away = queue.put(work.boom, retry_policy_factory=module.AgainInAnHour)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert module.job.result == 2
    assert isFailure(away.result)
    policy = module.AgainInAnHour(away)
    assert policy.jobError(Failure(ConnectionError()), {}) == timedelta(hours=1)


def test_the_example_of_a_process_that_only_queues(example, named_worker, root):
    del root[KEY]
    transaction.commit()
    example("web.py")
    transaction.begin()
    assert list(IQueue(root)) == list(root[KEY][""]) == []
    assert dispatcher.all_dispatchers() == []


def agents_of(queues, uuid) -> dict:
    """Names of the worker's agents by name of their queue."""
    return {
        name: list(queue.dispatchers[uuid])
        for name, queue in queues.items()
        if uuid in queue.dispatchers
    }


def test_the_examples_of_a_worker_and_its_events(example, named_worker, root, capsys):
    example("events.py")
    module = example("worker.py")
    worker = module.dispatcher
    try:
        queues = root[KEY]
        short = queues[""].put(Job(math.sqrt, 9))
        queues[""].put(Job(len, "x"))
        transaction.commit()
        assert wait_for_result(short) == 3
        wanted = {"": ["all", "short"], "mail": ["short"]}
        wait_until(
            lambda: agents_of(queues, worker.UUID) == wanted,
            "the agents",
            begin=transaction.begin,
        )
    finally:
        worker.deactivate()
        dispatcher.pop(worker.UUID)
    assert f"the worker {worker.UUID} has stopped" in capsys.readouterr().out
