"""How functions and arguments are stored, refused, and found again."""

from __future__ import annotations

from collective.clockwork.engine import callables
from collective.clockwork.engine import interfaces
from collective.clockwork.engine.attempt import UNRESOLVABLE_FIRST
from collective.clockwork.engine.clock import from_us
from collective.clockwork.engine.interfaces import UnresolvableError
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import set_now
from collective.clockwork.tests.engine import work
from datetime import datetime
from datetime import timedelta

import functools
import importlib
import math
import os.path
import pytest
import sys
import threading
import transaction
import types


@pytest.fixture
def temporary_module(tmp_path, monkeypatch):
    """Writes a module that can be imported, and removes it again."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    name = "clockwork_deployed"
    path = folder / f"{name}.py"

    def write(text):
        sys.modules.pop(name, None)
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        importlib.invalidate_caches()
        return importlib.import_module(name) if text is not None else None

    yield write
    sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "function",
    [
        work.answer,
        math.sqrt,
        len,
        os.path.join,
        work.Counter,
        work.Counter.add,
        dict.fromkeys,
        datetime.now,
    ],
)
def test_what_has_a_name_is_found_under_it(function):
    owner, method = callables.split(function)
    assert isinstance(owner, str)
    assert callables.join(owner, method) == function


def test_a_lambda_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"is a lambda.*top of a module"):
        Job(lambda: None)


def test_a_local_function_is_refused_with_the_remedy():
    def inner():
        return None

    with pytest.raises(ValueError, match=r"inner is a local function"):
        Job(inner)


def test_a_function_of_a_script_is_refused():
    function = types.FunctionType(work.answer.__code__, {}, "answer")
    function.__module__ = "__main__"
    with pytest.raises(ValueError, match="__main__"):
        Job(function)


def test_a_function_that_was_replaced_under_its_name_is_refused(monkeypatch):
    original = work.answer
    monkeypatch.setattr(work, "answer", work.nothing)
    with pytest.raises(ValueError, match="another object"):
        Job(original)


def test_a_function_whose_name_is_gone_is_refused(monkeypatch):
    original = work.answer
    monkeypatch.delattr(work, "answer")
    with pytest.raises(ValueError, match="cannot be imported under its own name"):
        Job(original)


@pytest.mark.parametrize("value", [None, 42, "work.answer"])
def test_what_cannot_be_called_is_refused(queue, value):
    with pytest.raises(TypeError, match="cannot be called"):
        Job(value)


def test_an_argument_that_cannot_be_stored_is_refused_by_name(queue):
    with pytest.raises(TypeError, match=r"argument 1 \(lock\).*cannot be stored"):
        queue.put(Job(work.echo, 1, threading.Lock()))
    with pytest.raises(TypeError, match=r"argument log \(.*cannot be stored"):
        queue.put(Job(work.echo, log=[threading.Lock()]))
    assert len(queue) == 0


def test_persistent_arguments_inside_others_are_references(db, counter, queue):
    job = queue.put(Job(work.echo, [counter], {"c": counter}))
    transaction.commit()
    drain(db)
    transaction.begin()
    (first, second), _kwargs = job.result
    assert first[0] is second["c"] is counter


def test_a_partial_of_a_function_can_be_queued(db, queue):
    job = queue.put(functools.partial(work.mirror, 7))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result == 7


def test_a_function_that_is_gone_lets_its_job_wait_and_blocks_nothing(
    db, queue, temporary_module
):
    module = temporary_module("def deployed():\n    return 'first'\n")
    queue.quotas.create("one")
    set_now(datetime(2030, 1, 1))
    job = Job(module.deployed)
    job.quota_names = ("one",)
    queue.put(job)
    other = Job(work.answer)
    other.quota_names = ("one",)
    queue.put(other)
    transaction.commit()

    temporary_module(None)
    assert drain(db) == 2
    transaction.begin()
    assert other.result == 42
    assert job.status == interfaces.PENDING
    assert "clockwork_deployed.deployed cannot be imported" in job.waits_for
    assert job.result is None
    assert list(queue) == [job]
    assert drain(db) == 0

    temporary_module("def deployed():\n    return 'second'\n")
    set_now(datetime(2030, 1, 1) + timedelta(microseconds=UNRESOLVABLE_FIRST))
    assert drain(db) == 1
    transaction.begin()
    assert job.result == "second"
    assert job.waits_for is None


def test_a_job_that_stays_unresolvable_is_looked_at_ever_less_often(
    db, queue, temporary_module
):
    module = temporary_module("def deployed():\n    return 1\n")
    set_now(datetime(2030, 1, 1))
    job = queue.put(module.deployed)
    transaction.commit()
    temporary_module(None)
    waits = []
    for _look in range(8):
        assert drain(db) == 1
        transaction.begin()
        before = from_us(job._begin_after)
        waits.append(job._begin_after)
        set_now(before)
    gaps = [(b - a) // 60_000_000 for a, b in zip(waits, waits[1:], strict=False)]
    assert gaps == [2, 4, 8, 16, 30, 30, 30]
    assert job.status == interfaces.PENDING


def test_an_argument_whose_class_is_gone_lets_its_job_wait(
    db, queue, elsewhere, temporary_module
):
    module = temporary_module(
        "from persistent import Persistent\nclass Thing(Persistent):\n    size = 3\n"
    )
    job = queue.put(Job(work.mirror, module.Thing()))
    transaction.commit()
    temporary_module(None)
    assert drain(db) == 1
    seen = elsewhere().get(job._p_oid)
    assert seen.status == interfaces.PENDING
    assert "argument 0 is a clockwork_deployed.Thing" in seen.waits_for


def test_an_unresolvable_callable_is_said_without_being_imported(temporary_module):
    module = temporary_module("def deployed():\n    return 1\n")
    job = Job(module.deployed)
    temporary_module(None)
    assert job.callable_name == "clockwork_deployed.deployed"
    assert "clockwork_deployed.deployed" in repr(job)
    with pytest.raises(UnresolvableError, match="clockwork_deployed"):
        assert job.callable


def test_a_callback_that_is_gone_does_not_keep_its_job_from_ending(
    db, queue, temporary_module
):
    module = temporary_module("def deployed(result):\n    return result\n")
    job = Job(work.answer)
    callback = job.addCallback(module.deployed)
    queue.put(job)
    transaction.commit()
    temporary_module(None)
    drain(db)
    transaction.begin()
    assert job.result == 42
    assert job.status == interfaces.COMPLETED
    assert callback.result.check(UnresolvableError)
