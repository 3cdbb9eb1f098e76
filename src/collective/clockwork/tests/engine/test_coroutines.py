"""``async def`` functions as jobs."""

from __future__ import annotations

from collective.clockwork.engine import coroutines
from collective.clockwork.engine.control import Control
from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.errors import JobTimeoutError
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.tests.engine import awaiting

import asyncio
import gc
import pytest
import threading
import transaction
import weakref


@pytest.fixture(autouse=True)
def loop():
    yield
    coroutines.close_loop()


def in_thread(call):
    """What ``call`` returns or raises in another thread."""
    found = []

    def run():
        try:
            found.append(call())
        except Exception as error:
            found.append(error)
        finally:
            coroutines.close_loop()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    return found[0]


def test_a_coroutine_gives_its_result():
    assert coroutines.run(awaiting.double(21)) == 42


def test_what_is_no_coroutine_is_given_as_it_is():
    value = object()
    assert coroutines.finish(value) is value
    assert coroutines.finish(awaiting.double(2)) == 4


def test_an_error_of_the_coroutine_is_raised():
    with pytest.raises(LookupError, match="nothing there"):
        coroutines.run(awaiting.fail("nothing there"))


def test_a_thread_keeps_its_loop_and_others_have_their_own():
    loops = [coroutines.run(awaiting.running_loop()) for _ in range(2)]
    other = in_thread(lambda: coroutines.run(awaiting.running_loop()))
    assert loops[0] is loops[1]
    assert other is not loops[0]
    assert other.is_closed()
    assert not loops[0].is_closed()


def test_a_closed_loop_is_replaced():
    loop = coroutines.run(awaiting.running_loop())
    coroutines.close_loop()
    coroutines.close_loop()
    assert loop.is_closed()
    assert coroutines.run(awaiting.double(1)) == 2


def test_an_async_generator_is_refused():
    with pytest.raises(TypeError, match="an async function that yields"):
        coroutines.finish(awaiting.generate())


def test_a_call_in_a_running_loop_is_refused():
    async def outer():
        coroutines.run(awaiting.double(1))

    with pytest.raises(RuntimeError, match="in a running event loop"):
        asyncio.run(outer())


def test_a_cancel_reaches_the_coroutine():
    control = Control()
    begun = threading.Event()

    def cancel():
        assert begun.wait(20)
        control.ask_to_cancel("anna", "enough")

    thread = threading.Thread(target=cancel)
    thread.start()
    seen: list = []
    with pytest.raises(CancelledError, match="cancelled by anna: enough"):
        coroutines.run(awaiting.wait_for_ever(begun, seen), control)
    thread.join(20)
    assert seen == ["cancelled"]


def test_a_cancel_of_before_reaches_it_at_its_first_await():
    control = Control()
    control.ask_to_cancel()
    seen: list = []
    with pytest.raises(CancelledError):
        coroutines.run(awaiting.wait_for_ever(threading.Event(), seen), control)


def test_a_timeout_reaches_the_coroutine():
    control = Control()
    control.begin_attempt(0.01)
    seen: list = []
    with pytest.raises(JobTimeoutError):
        coroutines.run(awaiting.wait_for_ever(threading.Event(), seen), control)
    assert seen == ["cancelled"]


def test_the_timer_of_a_coroutine_that_has_ended_keeps_nothing_of_it():
    control = Control()
    control.begin_attempt(3600)
    result = weakref.ref(coroutines.run(awaiting.make_something(), control))
    gc.collect()
    assert result() is None


def test_one_that_cancels_itself_fails():
    with pytest.raises(RuntimeError, match="not by its job"):
        coroutines.run(awaiting.cancel_itself())


def test_one_that_lives_with_its_cancel_gives_its_result():
    control = Control()
    control.ask_to_cancel()
    assert coroutines.run(awaiting.survive(), control) == "survived"


def test_what_it_leaves_running_is_cancelled():
    seen: list = []
    assert coroutines.run(awaiting.leave_a_task(seen)) == "left"
    assert seen == ["begun", "cancelled"]


def test_a_task_that_does_not_end_loses_its_loop(monkeypatch, caplog):
    monkeypatch.setattr(coroutines, "PATIENCE", 0.01)
    seen: list = []
    loop = coroutines.run(awaiting.leave_a_stubborn_task(seen))
    assert loop.is_closed()
    assert "do not end" in caplog.text
    assert coroutines.run(awaiting.running_loop()) is not loop


def test_an_error_of_a_task_that_was_left_is_logged(caplog):
    assert coroutines.run(awaiting.leave_a_failing_task()) is None
    assert "a task that a job had left failed" in caplog.text


def test_system_exit_leaves_a_loop_that_works():
    with pytest.raises(SystemExit):
        coroutines.run(awaiting.exit())
    assert coroutines.run(awaiting.double(1)) == 2


def test_its_changes_are_committed_with_its_result(db, counter, queue):
    job = queue.put(Job(awaiting.add, counter))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result == 1
    assert counter.count == 1


def test_changes_of_one_that_fails_are_thrown_away(db, counter, queue):
    job = queue.put(Job(awaiting.add_and_fail, counter))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result.check(ValueError)
    assert counter.count == 0


def test_it_is_run_again_after_a_conflict(db, counter, queue):
    job = queue.put(Job(awaiting.add_against_others, counter))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert counter.count == 11
    assert job.result == 11


def test_a_worker_runs_it(queue, start_dispatcher):
    start_dispatcher()
    job = queue.put(Job(awaiting.double, 4))
    transaction.commit()
    assert wait_for_result(job, 20) == 8


def test_it_knows_its_job(db, queue):
    job = queue.put(Job(awaiting.own_callable))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result.endswith("awaiting.own_callable")


def test_a_generator_as_a_job_fails_with_a_reason(db, queue):
    job = queue.put(Job(awaiting.generate))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result.check(TypeError)
    assert "yields" in job.result.getErrorMessage()
