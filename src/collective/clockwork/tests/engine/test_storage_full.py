"""A ZEO server whose disk is full for a while: jobs wait for it."""

from __future__ import annotations

from collective.clockwork.engine.job import Job
from collective.clockwork.engine.retry import NeverRetry
from collective.clockwork.engine.threadlocal import local
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine import zeoprocess
from collective.clockwork.tests.engine.trouble import Waits

import pytest
import sys


if sys.platform != "linux":
    pytest.skip("a process's limits are set from outside", allow_module_level=True)

import resource


class Server(zeoprocess.Server):
    """A server whose files can grow up to a size only, as on a full disk."""

    def limit(self, size: int) -> None:
        pid = self.process.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))

    def fill(self) -> None:
        self.limit((self.directory / "main.fs").stat().st_size)

    def make_room(self) -> None:
        self.limit(resource.RLIM_INFINITY)


class WaitsForRoom(Waits):
    """Makes room at the third wait."""

    server: Server

    def wait(self, seconds):
        if seconds >= 1 and len(self) == 2:
            self.server.make_room()
        return super().wait(seconds)


servers: list[Server] = []


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path, ["main"])
    server.start()
    servers.append(server)
    yield server
    servers.clear()
    server.process.end()


@pytest.fixture
def db(zeo_db):
    """A database in that server."""
    return zeo_db


@pytest.fixture
def waits(server, monkeypatch):
    noted = WaitsForRoom()
    noted.server = server
    monkeypatch.setattr(local, "stopping", noted)
    return noted


def add_and_fill(counter, result=None):
    """Job or callback: count, and let there be no room for that the first time."""
    counter.add()
    for server in servers:
        server.fill()
    servers.clear()


def test_a_job_waits_for_room(store, waits, counter):
    job = store(Job(add_and_fill, counter))
    assert job() is None
    assert counter.count == 1
    assert waits == [5, 10, 15]


def test_a_callback_waits_for_room(store, waits, counter):
    job = Job(work.answer)
    callback = job.addCallback(Job(add_and_fill, counter))
    store(job)
    assert job() == 42
    assert callback.result is None
    assert counter.count == 1
    assert waits == [5, 10, 15]


def test_a_job_that_is_never_tried_again_fails_when_there_is_room(
    store, waits, counter
):
    job = Job(add_and_fill, counter)
    job.retry_policy_factory = NeverRetry
    failure = store(job)()
    assert failure.check("collective.clockwork.engine.commit.StorageFull")
    assert "File too large" in failure.message
    assert counter.count == 0
    assert waits == [5, 10, 15]
