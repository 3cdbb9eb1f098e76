"""Databases that were written before an attribute existed go on working.

``data/before_options.fs`` was written by the engine as it was before jobs had
options: three finished jobs and a failed one, one claimed by a worker that died, two in
the lane of the quota "one", and of the three in an intake one has a callback, one is
held until 2030 and one has a retry policy.
"""

from __future__ import annotations

from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.options import NAMES
from collective.clockwork.engine.options import Options
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import set_now
from collective.clockwork.engine.testing import tearDownDatetime
from collective.clockwork.tests.engine import work
from datetime import datetime
from pathlib import Path
from uuid import UUID
from ZODB.FileStorage import FileStorage

import pytest
import shutil
import transaction
import ZODB


BEFORE = Path(__file__).parent / "data" / "before_options.fs"
#: The worker that died with a job in its hands.
GONE = UUID(int=7)


@pytest.fixture
def old_root(tmp_path, components):
    shutil.copy(BEFORE, tmp_path / "Data.fs")
    db = ZODB.DB(FileStorage(str(tmp_path / "Data.fs")))
    connection = db.open()
    yield connection.root()
    transaction.abort()
    tearDownDatetime()
    connection.close()
    db.close()


def test_jobs_that_were_queued_before_are_run(old_root):
    queue = old_root[KEY][""]
    queue.dispatchers[GONE].deactivate()
    transaction.commit()
    drain(old_root._p_jar.db())
    transaction.begin()
    assert sorted(old_root["ledger"].values()) == [
        "claimed",
        "finished 0",
        "finished 1",
        "finished 2",
        "one a",
        "one b",
        "plain",
        "with a policy",
    ]
    assert len(queue) == 1
    set_now(datetime(2030, 1, 2))
    drain(old_root._p_jar.db())
    transaction.begin()
    assert "held" in old_root["ledger"].values()
    assert len(queue) == 0


def test_their_order_inside_a_quota_is_kept(old_root):
    drain(old_root._p_jar.db())
    transaction.begin()
    said = [name for name in old_root["ledger"].values() if name.startswith("one")]
    assert said == ["one a", "one b"]


def test_finished_jobs_can_be_read(old_root):
    agents = [
        agent
        for dispatcher in old_root[KEY][""].dispatchers.values()
        for agent in dispatcher.values()
    ]
    finished = [job for agent in agents for job in agent.completed]
    assert len(finished) == 4
    assert all(job.status == COMPLETED for job in finished)
    (failed,) = [job for job in finished if job.callable_name.endswith("boom")]
    assert failed.result.getErrorMessage() == "boom"


def test_old_jobs_have_the_options_at_their_defaults(old_root):
    for job in old_root[KEY][""]:
        for name in NAMES:
            assert getattr(job, name) == getattr(Job(work.nothing), name)


def test_an_option_at_its_default_takes_no_byte():
    plain, asked = Job(work.nothing), Job(work.nothing)
    for name in NAMES:
        setattr(asked, name, getattr(plain, name))
    stored = asked.__getstate__()
    assert not any(f"_{name}" in stored for name in NAMES)
    assert issubclass(Job, Options)
