"""Workers of before jobs had options, and of now, on one database that is as old."""

from __future__ import annotations

from collective.clockwork.engine.explain import explain
from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.interfaces import DatabaseOpened
from collective.clockwork.engine.interfaces import PENDING
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.subscribers import queue_installer
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import grouping
from collective.clockwork.tests.engine import oldworker
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine import zeoprocess
from collective.clockwork.tests.engine.test_database_shape import BEFORE
from collective.clockwork.tests.engine.test_database_shape import GONE
from collective.clockwork.tests.engine.zeoprocess import PATIENCE
from collective.clockwork.tests.engine.zeostack import Stack
from datetime import timedelta
from importlib.util import find_spec
from persistent.list import PersistentList

import pytest
import shutil
import transaction


MINUTE = timedelta(minutes=1)
#: Those that an old worker runs as if they had none.
OPTIONS = (
    {},
    {"priority": 5},
    {"groupable": True},
    {"timeout": MINUTE},
    {"keep_result": MINUTE},
)
#: Jobs with each of these options.
EACH = 12
#: What jobs of the old database have noted, or are to note.
NOTED = ["claimed", "one a", "one b", "plain", "with a policy"]


@pytest.fixture
def stack(tmp_path, components):
    """A ZEO server with a database of before, which a process of now has opened."""
    shutil.copy(BEFORE, tmp_path / "main.fs")
    stack = Stack(tmp_path, ["main"])
    try:
        queue_installer(DatabaseOpened(stack.db))
        stack.open()
        yield stack
    finally:
        stack.close()


@pytest.fixture(params=list(oldworker.PROGRAMS))
def start_old(request, stack):
    """Starts a worker of before."""

    def start():
        return stack.worker(program=oldworker.PROGRAMS[request.param])

    return start


def agent_of(stack, worker):
    transaction.begin()
    return stack.queue.dispatchers[worker.uuid]["main"]


def test_all_jobs_are_done_once_whoever_runs_them(stack, start_old):
    stack.queue.dispatchers[GONE].ping_death_interval = timedelta(seconds=1)
    gates = stack.root["gates"] = PersistentList(work.Counter() for _ in range(6))
    transaction.commit()
    workers = [start_old(), stack.worker()]
    behind = [stack.put_behind_gate(counter) for counter in gates]
    transaction.commit()
    wait_until(lambda: len(set(stack.pids("begun"))) == 2, "work of both", PATIENCE)
    counters = stack.root["counters"] = PersistentList(
        work.Counter() for _ in range(EACH * len(OPTIONS))
    )
    jobs = [
        stack.queue.put(Job(counter.add), **OPTIONS[number % len(OPTIONS)])
        for number, counter in enumerate(counters)
    ]
    unique = [
        stack.queue.put(Job(work.answer), unique="key", on_duplicate="drop")
        for _time in range(2)
    ]
    assert unique[0] is unique[1]
    transaction.commit()
    stack.file("gate").touch()
    assert {stack.result(job) for job in [*behind, *jobs]} == {1}
    assert {counter.count for counter in [*gates, *counters]} == {1}
    assert stack.result(unique[0]) == 42
    wait_until(lambda: len(noted(stack)) >= len(NOTED), "what waited", PATIENCE)
    for worker in workers:
        assert worker.stop() == 0, worker.said()
    assert noted(stack) == NOTED
    assert [job.status for job in stack.queue] == [PENDING], "one is held"
    done = [set(agent_of(stack, worker).completed) for worker in workers]
    assert all(done)
    assert not done[0] & done[1]
    again = stack.queue.put(Job(work.answer), unique="key")
    assert again.status != COMPLETED
    assert "Traceback" not in "".join(worker.said() for worker in workers)


def noted(stack) -> list[str]:
    transaction.begin()
    names = stack.root["ledger"].values()
    return sorted(name for name in names if not name.startswith("finished"))


def test_an_old_worker_does_not_heed_a_pause_and_does_not_lose_it(stack, start_old):
    new = stack.worker()
    transaction.begin()
    stack.queue.pause("jane", "we move")
    transaction.commit()
    old = start_old()
    jobs = [stack.queue.put(Job(zeoprocess.process_id)) for _number in range(20)]
    transaction.commit()
    assert {stack.result(job) for job in jobs} == {old.process.pid}
    assert old.stop() == 0, old.said()
    transaction.begin()
    assert (stack.queue.paused.by, stack.queue.paused.reason) == ("jane", "we move")
    held = stack.queue.put(Job(zeoprocess.process_id))
    transaction.commit()
    stack.queue.resume()
    transaction.commit()
    assert stack.result(held) == new.process.pid


def test_what_an_old_worker_cannot_import_waits_for_another(stack, start_old):
    old = start_old()
    ledger = stack.root["ledger"]
    # Of a module that imports what has come since.
    job = stack.queue.put(Job(grouping.note_and_snooze_once, ledger, "new"))
    transaction.commit()

    def is_put_off() -> bool:
        transaction.begin()
        return explain(job).code == "unresolvable"

    wait_until(is_put_off, "finding out", PATIENCE)
    assert old.stop() == 0, old.said()
    transaction.begin()
    assert job.status == PENDING
    assert "new" not in ledger.values()


def test_what_is_hidden_from_the_stand_in_is_there():
    for kind, names in oldworker.UNKNOWN.items():
        assert names <= set(dir(kind))
    for name in oldworker.MISSING:
        assert find_spec(f"collective.clockwork.engine.{name}")
