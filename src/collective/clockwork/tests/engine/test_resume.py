"""A long job whose workers are killed in the middle of it: real processes on ZEO."""

from __future__ import annotations

from collections import Counter
from collective.clockwork.engine import progress
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import looping
from collective.clockwork.tests.engine import zeoprocess
from collective.clockwork.tests.engine.zeoprocess import PATIENCE
from uuid import uuid4

import pytest
import random
import transaction


#: Items of the job, and how many of them are one commit.
SIZE = 5000
EVERY = 20
KILLS = 3


@pytest.fixture
def db(zeo_db):
    """A database in a ZEO server, with the default queue."""
    return zeo_db


@pytest.fixture
def worker(server, tmp_path):
    """Starts a worker; all have one UUID, so each takes back what the last one had."""
    started = []
    uuid = str(uuid4())

    def start():
        options = {"uuid": uuid, "threads": 1, "grace": 5, "poll_interval": 1}
        process = zeoprocess.role(
            "worker",
            server.port,
            tmp_path / f"worker-{len(started)}.log",
            storages=["main"],
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.end()


def put(db, directory, every):
    """Queue the job; returns it, its ledger, and the file that it notes visits in."""
    root = db.open().root()
    ledger = root["ledger"] = looping.Ledger()
    transaction.commit()
    path = directory / "visits"
    job = root[KEY][""].put(Job(looping.visit_many, ledger, SIZE, every, str(path)))
    transaction.commit()
    return job, ledger, path


@pytest.mark.parametrize("seed", range(2))
def test_what_is_committed_is_not_done_again_after_a_kill(db, worker, tmp_path, seed):
    chance = random.Random(seed)
    job, ledger, path = put(db, tmp_path, EVERY)

    def visits():
        return path.read_text().splitlines() if path.exists() else []

    for _ in range(KILLS):
        target = len(visits()) + chance.randrange(1, SIZE // (KILLS + 1))
        process = worker()
        wait_until(lambda at=target: len(visits()) >= at, f"visit {target}", PATIENCE)
        process.kill()
        transaction.begin()
        # Whatever moment that was: it is a whole number of commits.
        assert len(ledger) % EVERY == 0
        assert len(ledger) == (job._cursors or {}).get((1,), (0,))[0]
    last = worker()
    wait_for_result(job, PATIENCE)
    assert 1 <= job.result <= 1 + KILLS, last.said()
    assert set(ledger.values()) == {1}
    assert list(ledger) == list(range(SIZE))
    seen = Counter(int(line.split()[1]) for line in visits())
    assert sum(seen.values()) - SIZE <= KILLS * EVERY
    assert max(seen.values()) <= 1 + KILLS
    assert (progress.of(job).done, job._cursors) == (SIZE, None)


def test_a_worker_that_is_stopped_loses_nothing_of_it(db, worker, tmp_path):
    job, ledger, path = put(db, tmp_path, 10**6)
    process = worker()
    wait_until(path.exists, "the first item", PATIENCE)
    assert process.stop() == 0, process.said()
    transaction.begin()
    stopped_at = len(ledger)
    assert 0 < stopped_at < SIZE
    assert list(job.queue) == [job]
    worker()
    wait_for_result(job, PATIENCE)
    assert job.result == 1, "no attempt is lost"
    assert list(ledger) == list(range(SIZE))
    assert len(path.read_text().splitlines()) == SIZE, "none is visited twice"
