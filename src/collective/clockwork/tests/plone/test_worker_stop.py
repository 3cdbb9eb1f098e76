"""``clockwork-worker`` is asked to stop by SIGTERM while it runs a job."""

from __future__ import annotations

from collective.clockwork import worker
from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.interfaces import DatabaseOpened
from collective.clockwork.engine.interfaces import PENDING
from collective.clockwork.engine.subscribers import queue_installer
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine import zeoprocess
from collective.clockwork.tests.engine.zeostack import Stack
from collective.clockwork.tests.plone import instancehome
from datetime import timedelta
from uuid import UUID

import pytest
import subprocess
import sys
import transaction


PATIENCE = 120

ZEO = """\
<zeoclient>
    server 127.0.0.1:{port}
    storage main
  </zeoclient>"""


class ZopeStack(Stack):
    """With workers that are started as the console script starts them."""

    def prepare(self):
        home = self.directory / "instance"
        home.mkdir()
        self.uuid_file = home / "uuid.txt"
        self.conf = instancehome.write(
            home,
            storage=ZEO.format(port=self.server.port),
            more=instancehome.named(self.uuid_file),
        )

    def start_worker(self, grace: float):
        """Start one, and return when it says that it is ready."""
        log = self.directory / f"worker-{next(self.numbers)}.log"
        program = [sys.executable, "-m", worker.__name__]
        command = [*program, "--grace", str(grace), str(self.conf)]
        process = zeoprocess.Process(command, log)
        self.started.append(process)
        wait_until(lambda: worker.READY in process.said(), "the start", PATIENCE)
        return process

    def ask_to_stop(self, process) -> None:
        process.process.terminate()
        wait_until(lambda: "Stopping: no new" in process.said(), "hearing", PATIENCE)
        transaction.begin()

    @property
    def agents(self):
        uuid = UUID(self.uuid_file.read_text().split()[0])
        return self.queue.dispatchers[uuid]


@pytest.fixture
def stack(tmp_path):
    stack = ZopeStack(tmp_path, ["main"])
    try:
        queue_installer(DatabaseOpened(stack.db))
        stack.open()
        stack.root["counter"] = work.Counter()
        transaction.commit()
        stack.prepare()
        yield stack
    finally:
        stack.close()


@pytest.fixture
def running(stack):
    """Starts a worker; gives it, and a job that it has begun."""

    def start(grace):
        process = stack.start_worker(grace)
        transaction.begin()
        job = stack.put_behind_gate(stack.root["counter"])
        transaction.commit()
        wait_until(stack.file("begun").exists, "beginning", PATIENCE)
        transaction.begin()
        return process, job

    return start


def test_a_job_that_ends_in_time_is_completed_and_no_other_is_begun(stack, running):
    process, job = running(grace=PATIENCE)
    stack.agents.ping_interval = timedelta(seconds=0.1)
    transaction.commit()
    stack.ask_to_stop(process)
    behind = stack.queue.put(work.answer)
    transaction.commit()
    looks = set()

    def has_looked() -> bool:
        transaction.begin()
        looks.add(stack.agents.last_ping)
        return len(looks) > 5

    wait_until(has_looked, "looks at the queue", PATIENCE)
    assert list(stack.agents["main"]) == [job]
    stack.file("gate").touch()
    assert process.wait() == 0, process.said()
    transaction.begin()
    assert (job.status, job.result) == (COMPLETED, 1)
    assert stack.root["counter"].count == 1
    assert stack.pids("begun") == [str(process.process.pid)]
    assert list(stack.queue) == [behind]
    assert stack.agents.activated is None


def test_a_job_that_takes_too_long_is_put_back_and_done_by_the_next(stack, running):
    process, job = running(grace=0.5)
    assert process.stop() == 0, process.said()
    transaction.begin()
    assert (job.status, list(stack.queue)) == (PENDING, [job])
    assert stack.root["counter"].count == 0
    assert stack.agents.activated is None
    stack.file("gate").touch()
    following = stack.start_worker(grace=PATIENCE)
    assert stack.result(job) == stack.root["counter"].count == 1
    pids = [str(each.process.pid) for each in (process, following)]
    assert stack.pids("begun") == pids
    assert following.stop() == 0, following.said()


SIGNALS_AT_ANY_MOMENT = """
from collective.clockwork.worker import Worker
import random
import signal

for number in range(300):
    worker = Worker("")
    worker._starting = False
    worker.stop_at_signals(signal.SIGALRM)
    signal.setitimer(signal.ITIMER_REAL, random.uniform(5e-6, 6e-5))
    worker.wait_for_stop()
print("stopped each time")
"""


def test_a_signal_ends_the_wait_whenever_it_comes():
    said = subprocess.check_output(
        [sys.executable, "-c", SIGNALS_AT_ANY_MOMENT], text=True, timeout=PATIENCE
    )
    assert said == "stopped each time\n"
