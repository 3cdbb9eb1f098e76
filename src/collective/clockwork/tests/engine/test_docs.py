"""The examples in docs/engine.rst, in their order."""

from __future__ import annotations

from collective.clockwork.engine import dispatcher
from collective.clockwork.engine.interfaces import PENDING
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import drain
from collective.clockwork.tests.codeblocks import named_blocks

import math
import pytest
import sys
import transaction
import types


@pytest.fixture
def blocks():
    return named_blocks("docs/engine.rst")


@pytest.fixture
def example(blocks, queue):
    """Runs an example of those that have a queue already."""
    names = {"queue": queue, "Job": Job, "math": math, "transaction": transaction}

    def run(name):
        exec(compile(blocks[name], name, "exec"), names)
        return names

    return run


def test_the_first_example_runs_as_it_is(blocks, components, tmp_path, monkeypatch):
    monkeypatch.setenv("ZC_ASYNC_UUID", str(tmp_path / "uuid.txt"))
    names = {}
    exec(compile(blocks["first.py"], "first.py", "exec"), names)
    assert names["result"] == 120
    dispatcher.pop(names["dispatcher"].UUID)


def test_the_quota_example(example, db):
    names = example("quota.py")
    assert drain(db) == 1
    transaction.begin()
    assert names["job"].result == 720


def test_the_delay_example(example, db):
    names = example("later.py")
    assert drain(db) == 0
    assert names["held"].status == PENDING


def test_the_callback_example(example, db):
    names = example("callbacks.py")
    drain(db)
    transaction.begin()
    assert names["job"].result == 120
    assert names["doubled"].result == math.ldexp(1, 120)
    assert names["job"].callbacks[1].result == math.sqrt(120)


def test_the_batch_example(example, db):
    names = example("batch.py")
    drain(db)
    transaction.begin()
    for batch in (names["steps"], names["both"]):
        assert [job.result for job in batch.result] == [6, 24]


def test_the_example_of_asking_from_inside(blocks, queue, db, monkeypatch):
    module = types.ModuleType("clockwork_docs_asking")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(blocks["asking.py"], "asking.py", "exec"), module.__dict__)
    job = queue.put(module.long_work)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert dict(job.annotations) == {"done": 9}
