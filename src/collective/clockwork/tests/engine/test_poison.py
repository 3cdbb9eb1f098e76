"""Jobs that kill their process, and innocent ones beside them, in real workers."""

from __future__ import annotations

from collective.clockwork.engine import quarantine
from collective.clockwork.engine.interfaces import AbortedError
from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine import zeoprocess
from collective.clockwork.tests.engine.sickwork import Threefold
from pathlib import Path
from uuid import uuid4

import json
import os
import pytest
import signal
import sys
import time
import transaction


QUARANTINED_ERROR = "collective.clockwork.engine.errors.QuarantinedError"
#: Seconds; a worker is started anew for each death.
PATIENCE = 60


def kill(log: str) -> None:
    """Job: poison."""
    zeoprocess.append(log, "kill")
    os.kill(os.getpid(), signal.SIGKILL)


def kill_after(log: str, result) -> None:
    """Callback: poison."""
    kill(log)


def count_slowly(counter, log: str, seconds: float) -> int:
    """Job: innocent, and long enough to be running when a neighbour kills."""
    zeoprocess.append(log, "begin")
    time.sleep(seconds)
    return counter.add()


class SupervisedWorker:
    """A worker that a supervisor starts again after each death."""

    def __init__(self, server, directory: Path):
        self.uuid = uuid4()
        self.file = directory / "uuid.txt"
        self.file.write_text(f"{self.uuid}\n")
        options = {
            "storages": ["main"],
            "uuid": str(self.uuid),
            "threads": 3,
            "grace": 5.0,
            "poll_interval": 5.0,
        }
        command = [sys.executable, "-c", START, str(server.port), json.dumps(options)]
        self.process = zeoprocess.Process(
            [sys.executable, "-c", SUPERVISE, str(self.file), *command],
            directory / "worker.log",
        )


#: As from the command line, with shorter waits between two starts.
SUPERVISE = """
import os, sys
from collective.clockwork.engine import instanceuuid, supervisor
os.environ[instanceuuid.key] = sys.argv[1]
supervisor.LONGEST_WAIT = 0.1
sys.exit(supervisor.supervise(sys.argv[2:]))
"""

START = """
import sys
from collective.clockwork.engine import deaths
from collective.clockwork.tests.engine import zeoprocess
deaths.ALONE_FIRST = 2.0
zeoprocess.main("worker", *sys.argv[1:])
"""


@pytest.fixture
def stack(server, zeo_db, tmp_path):
    """A connection, and a function that starts a worker with a supervisor."""
    started = []

    def start():
        started.append(SupervisedWorker(server, tmp_path))
        return started[-1]

    yield zeo_db.open(), start
    for worker in started:
        # The child ends with it.
        worker.process.end()


def is_set_aside(queue, job) -> bool:
    transaction.begin()
    return quarantine.holds(queue, job)


def are_completed(jobs) -> bool:
    transaction.begin()
    return all(job.status == COMPLETED for job in jobs)


def is_among(completed, job) -> bool:
    transaction.begin()
    return job in list(completed)


@pytest.mark.parametrize("seconds", [0.0, 1.0])
@pytest.mark.parametrize("poisons", [1, 2])
def test_innocent_neighbours_end_well_and_the_poison_is_set_aside(
    stack, tmp_path, seconds, poisons
):
    connection, start = stack
    queue = connection.root()[KEY][""]
    counters = connection.root()["counters"] = [work.Counter() for _ in range(8)]
    transaction.commit()
    log = str(tmp_path / "log.txt")
    guilty, innocent = [], []
    for number, counter in enumerate(counters):
        innocent.append(queue.put(Job(count_slowly, counter, log, seconds)))
        if number < 2 * poisons and number % 2:
            guilty.append(queue.put(Job(kill, log)))
    for job in [*innocent, *guilty]:
        job.retry_policy_factory = Threefold
    transaction.commit()
    worker = start()
    for job in guilty:
        wait_until(lambda job=job: is_set_aside(queue, job), "quarantine", PATIENCE)
    wait_until(lambda: are_completed(innocent), "the innocent", PATIENCE)
    assert [job.result for job in innocent] == [1] * 8
    for job in innocent:
        policy = job._retry_policy
        data = {} if policy is None else policy.data
        own = data.get("interruptions", 0) - data.get("disturbances", 0)
        assert own == 0, job
    assert set(queue.quarantine) == set(guilty)
    for job in guilty:
        assert job.status == "quarantined-status"
        counted = [death for death in job.deaths if death.alone]
        assert len(counted) == 4
        assert {death.signal for death in counted} == {"SIGKILL"}
        assert {death.worker for death in counted} == {str(worker.uuid)}
        assert len({death.pid for death in counted}) == 4
        assert all(death.peak_rss > 10_000_000 for death in counted)
        assert all(death.thread.startswith("clockwork-") for death in counted)
    # Released, it kills again, and again only itself.
    queue.quarantine.release(guilty[0])
    transaction.commit()
    assert guilty[0].status == "pending-status"
    wait_until(lambda: is_set_aside(queue, guilty[0]), "quarantine", PATIENCE)
    assert guilty[0]._deaths.count == 4
    queue.quarantine.discard(guilty[0])
    transaction.commit()
    assert guilty[0].result.typeName == QUARANTINED_ERROR
    agent = queue.dispatchers[worker.uuid]["main"]
    wait_until(lambda: is_among(agent.completed, guilty[0]), "the sweep", PATIENCE)
    assert len(queue) == 0
    assert worker.process.stop() == 0


def test_a_poisonous_callback_fails_and_its_job_is_completed(stack, tmp_path):
    connection, start = stack
    queue = connection.root()[KEY][""]
    counters = connection.root()["counters"] = [work.Counter() for _ in range(3)]
    transaction.commit()
    log = str(tmp_path / "log.txt")
    innocent = [queue.put(Job(count_slowly, counter, log, 1.0)) for counter in counters]
    job = Job(work.answer)
    deadly = job.addCallback(Job(kill_after, log), retry_policy_factory=Threefold)
    behind = job.addCallback(work.mirror)
    queue.put(job)
    transaction.commit()
    worker = start()
    wait_until(lambda: are_completed([job, *innocent]), "all", PATIENCE)
    assert (job.result, behind.result) == (42, 42)
    assert deadly.result.check(AbortedError)
    counted = [death for death in deadly.deaths if death.alone]
    assert len(counted) == 4
    assert {death.signal for death in counted} == {"SIGKILL"}
    assert [each.result for each in innocent] == [1] * 3
    assert worker.process.stop() == 0
