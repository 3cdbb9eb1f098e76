"""Groups of jobs in several databases, and in processes that are killed."""

from __future__ import annotations

from collective.clockwork.engine import dispatcher as registry
from collective.clockwork.engine.dispatcher import Dispatcher
from collective.clockwork.engine.interfaces import DatabaseOpened
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.subscribers import agent_installer
from collective.clockwork.engine.subscribers import queue_installer
from collective.clockwork.engine.testing import tear_down_dispatcher
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import grouping
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine import zeoprocess
from collective.clockwork.tests.engine.dispatching import pool_of
from pathlib import Path
from persistent.list import PersistentList
from uuid import uuid4
from zope.component import provideHandler

import json
import pytest
import sys
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


@pytest.fixture
def server(tmp_path, components):
    server = zeoprocess.Server(tmp_path, ["main"])
    server.start()
    yield server
    server.process.end()


def test_a_kill_in_a_group_leaves_each_effect_once(server, tmp_path):
    db = zeoprocess.open_database(server.port, ["main"])
    queue_installer(DatabaseOpened(db))
    connection = db.open()
    queue = connection.root()[KEY][""]
    counters = connection.root()["counters"] = PersistentList(
        work.Counter() for _ in range(9)
    )
    begun, died = str(tmp_path / "begun"), str(tmp_path / "died")
    function = [grouping.count_in_file] * 9
    function[5] = grouping.count_and_die_once
    marker = [died if made is not function[0] else begun for made in function]
    first = queue.put(Job(work.nothing))
    transaction.commit()
    options = {"threads": 1, "grace": 5.0, "poll_interval": 5.0, "storages": ["main"]}
    command = [sys.executable, "-m", grouping.__name__, "worker", str(server.port)]
    command.append(json.dumps({"uuid": str(uuid4()), **options}))
    workers = []
    try:
        workers.append(zeoprocess.Process(command, tmp_path / "worker-0.log"))
        wait_for_result(first, grouping.PATIENCE)
        jobs = [
            queue.put(Job(function[number], counter, marker[number]), groupable=True)
            for number, counter in enumerate(counters)
        ]
        transaction.commit()
        workers[0].wait()
        workers.append(zeoprocess.Process(command, tmp_path / "worker-1.log"))
        assert grouping.finish(*jobs) == [1] * 9
        assert [counter.count for counter in counters] == [1] * 9
        calls = Path(begun).read_text().split()
        # Five had been called, in the process that died, for nothing.
        assert len(calls) == 5 + 8
        assert set(calls) == {str(worker.process.pid) for worker in workers}
    finally:
        for worker in workers:
            worker.end()
        transaction.abort()
        connection.close()
        zeoprocess.close_database(db)
