"""Groups of jobs in several databases, and in processes that are killed."""

from __future__ import annotations

from collective.clockwork.engine import dispatcher as registry
from collective.clockwork.engine.dispatcher import Dispatcher
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.subscribers import agent_installer
from collective.clockwork.engine.testing import tear_down_dispatcher
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import grouping
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.dispatching import pool_of
from persistent.list import PersistentList
from uuid import uuid4
from zope.component import provideHandler

import pytest
import transaction


@pytest.fixture(autouse=True)
def be_patient(monkeypatch):
    grouping.be_patient(monkeypatch.setattr)


def test_jobs_of_two_databases_share_a_transaction(databases):
    provideHandler(agent_installer)
    connection = databases["main"].open()
    root = connection.root()
    queue = root[KEY][""]
    made = Dispatcher(databases["main"], uuid=uuid4())
    made.activate()
    try:
        pool = pool_of(made)
        first = queue.put(Job(work.nothing))
        transaction.commit()
        wait_for_result(first, grouping.PATIENCE)
        wait_until(lambda: pool.idle and pool.batch() > 3, "having run a job")
        work.calls.clear()
        ledger = root["ledger"] = work.Ledger()
        other = root["other"] = work.Ledger()
        transaction.commit()
        near = Job(grouping.note, ledger, "near")
        far = Job(grouping.note, other, "far")
        bad = Job(grouping.note_and_fail, ledger, "bad")
        for number, job in enumerate((near, far, bad)):
            if job is not near:
                root[f"job {number}"] = job
                transaction.commit()
        for job in (near, far, bad):
            queue.put(job, groupable=True)
        grouping.finish(near, far, bad)
        assert grouping.names(ledger) == ["near"]
        assert grouping.names(other) == ["far"]
        assert near._p_jar is not far._p_jar
        assert len(grouping.commits_of([ledger, other, far])) == 1
        assert bad.result.check(ValueError)
    finally:
        tear_down_dispatcher(made)
        registry.pop(made.UUID)
        transaction.abort()
        connection.close()


def test_a_kill_in_a_group_leaves_each_effect_once(stack):
    counters = stack.root["counters"] = PersistentList(work.Counter() for _ in range(9))
    begun, died = str(stack.file("begun")), str(stack.file("died"))
    functions = [grouping.count_in_file] * 9
    functions[5] = grouping.count_and_die_once
    markers = [begun] * 9
    markers[5] = died
    first = stack.queue.put(Job(work.nothing))
    transaction.commit()
    killed = stack.worker(threads=1, program=grouping.PROGRAM)
    stack.result(first)
    jobs = [
        stack.queue.put(Job(function, counter, marker), groupable=True)
        for function, counter, marker in zip(functions, counters, markers, strict=True)
    ]
    transaction.commit()
    killed.wait()
    again = stack.worker(uuid=killed.uuid, threads=1, program=grouping.PROGRAM)
    assert grouping.finish(*jobs) == [1] * 9
    assert [counter.count for counter in counters] == [1] * 9
    calls = stack.pids("begun")
    # Five had been called, in the process that died, for nothing.
    assert len(calls) == 5 + 8
    assert set(calls) == {str(each.process.pid) for each in (killed, again)}
