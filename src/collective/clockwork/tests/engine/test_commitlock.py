"""A client that freezes while it holds the storage's commit lock."""

from __future__ import annotations

from collective.clockwork.engine import commitlock
from collective.clockwork.engine.commitlock import LockTimer
from collective.clockwork.engine.interfaces import DatabaseOpened
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.subscribers import queue_installer
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine import zeoprocess
from collective.clockwork.tests.engine.zeoprocess import PATIENCE
from datetime import timedelta
from uuid import uuid4
from ZEO import StorageServer as server
from ZEO.asyncio.server import ServerProtocol

import asyncio
import json
import os
import pytest
import signal
import subprocess
import sys
import threading
import transaction


IMPORT = "%import collective.clockwork.engine.zeoserver\n"
FREEZING = "collective.clockwork.tests.engine.freezing"
#: Seconds that a client may hold the lock here.
TIMEOUT = 2


@pytest.fixture
def names():
    """Lets a test install what it wants to, in this process."""
    yield
    commitlock.uninstall()


# Over ZEO, with processes that are stopped


class Site:
    """A server that gives the lock back, and workers that may freeze."""

    def __init__(self, directory, timeout):
        self.directory = directory
        self.server = zeoprocess.Server(directory, ["main"])
        text = self.server.configuration.read_text()
        text = text.replace("</zeo>", f"  transaction-timeout {timeout}\n</zeo>")
        # Behind all the rest, where plone.recipe.zeoserver adds lines.
        self.server.configuration.write_text(text + IMPORT)
        self.server.start()
        self.db = zeoprocess.open_database(self.server.port, ["main"])
        queue_installer(DatabaseOpened(self.db))
        self.root = self.db.open().root()
        self.queue = self.root[KEY][""]
        self.root["counter"] = work.Counter()
        transaction.commit()
        self.workers = []

    def worker(self):
        """Start a worker with one thread."""
        uuid = uuid4()
        options = {"uuid": str(uuid), "threads": 1, "grace": 5, "poll_interval": 1}
        options["storages"] = ["main"]
        command = [sys.executable, "-m", FREEZING, "worker", str(self.server.port)]
        log = self.directory / f"worker{len(self.workers)}.log"
        process = zeoprocess.Process([*command, json.dumps(options)], log)
        process.uuid = uuid
        self.workers.append(process)
        wait_until(lambda: self.agents(uuid), "activation", PATIENCE)
        return process

    def agents(self, uuid):
        transaction.begin()
        return self.queue.dispatchers.get(uuid)

    def quicken(self):
        """Let the workers notice each other's silence after some seconds."""
        transaction.begin()
        for agents in self.queue.dispatchers.values():
            agents.ping_interval = timedelta(seconds=0.5)
            agents.ping_death_interval = timedelta(seconds=4)
        transaction.commit()

    def freeze_in_commit(self):
        """Queue a job whose worker freezes at its end; returns the job."""
        (self.directory / "freeze").touch()
        transaction.begin()
        job = self.queue.put(self.root["counter"].add)
        transaction.commit()
        wait_until((self.directory / "frozen").exists, "freezing", PATIENCE)
        return job

    def commit_beside(self, names):
        """Let each of these be committed by a connection of its own."""

        def commit(name):
            manager = transaction.TransactionManager()
            connection = self.db.open(manager)
            connection.root()[KEY][""].put(Job(work.mirror, name))
            manager.commit()
            connection.close()

        threads = [threading.Thread(target=commit, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        return [name for name, t in zip(names, threads, strict=True) if t.is_alive()]

    def log(self):
        return self.server.process.said()

    def close(self):
        for worker in self.workers:
            worker.end()
        transaction.abort()
        self.server.process.end()
        self.db.close()


@pytest.fixture
def start_site(tmp_path, components):
    started = []

    def start(timeout):
        started.append(Site(tmp_path, timeout))
        return started[0]

    yield start
    for site in started:
        site.close()


@pytest.fixture
def site(start_site):
    return start_site(TIMEOUT)


def send(process, sign):
    os.kill(process.process.pid, sign)


def test_others_commit_when_a_frozen_client_has_had_its_time(site):
    frozen = site.worker()
    reader = site.worker()
    send(reader, signal.SIGSTOP)
    job = site.freeze_in_commit()
    assert site.commit_beside("abc") == []
    assert site.log().count(f"has held the commit lock for {TIMEOUT} s") == 1
    # The reader was frozen for longer than that, but held nothing.
    send(reader, signal.SIGCONT)
    site.quicken()
    assert wait_for_result(job, PATIENCE) == 1
    assert f"dispatcher {frozen.uuid} is silent" in reader.said()
    assert "the storage is away" not in reader.said()
    # The frozen one goes on: its commit comes too late, and it works again.
    reader.kill()
    send(frozen, signal.SIGCONT)
    again = site.queue.put(zeoprocess.process_id)
    transaction.commit()
    assert wait_for_result(again, PATIENCE) == frozen.process.pid
    wait_until(lambda: "thrown away" in frozen.said(), "the log entry", PATIENCE)
    transaction.begin()
    assert site.root["counter"].count == 1


def test_who_goes_on_before_it_is_taken_for_dead_does_its_job_again(site):
    frozen = site.worker()
    job = site.freeze_in_commit()
    assert site.commit_beside("a") == []
    send(frozen, signal.SIGCONT)
    assert wait_for_result(job, PATIENCE) == 1
    assert site.root["counter"].count == 1
    assert site.agents(frozen.uuid).activated


def test_who_goes_on_in_time_loses_nothing(start_site):
    site = start_site(PATIENCE)
    frozen = site.worker()
    job = site.freeze_in_commit()
    send(frozen, signal.SIGCONT)
    assert wait_for_result(job, PATIENCE) == 1
    assert site.commit_beside("a") == []
    assert "has held the commit lock" not in site.log()


# The server's configuration


def runzeo(directory, conf, *options):
    """What a server that ends at once says."""
    path = directory / "zeo.conf"
    path.write_text(conf)
    command = [sys.executable, "-m", "ZEO.runzeo", "--test", "-C", str(path)]
    result = subprocess.run(
        [*command, *options], capture_output=True, text=True, cwd=directory
    )
    return result.stdout + result.stderr


CONF = """
<zeo>
  address 127.0.0.1:0
  {}
</zeo>
<mappingstorage 1>
</mappingstorage>
"""


def test_without_a_transaction_timeout_it_is_half_a_minute(tmp_path):
    said = runzeo(tmp_path, CONF.format("") + IMPORT)
    assert "holds the commit lock for 30 s loses it" in said


def test_a_transaction_timeout_is_heeded(tmp_path):
    said = runzeo(tmp_path, CONF.format("transaction-timeout 7") + IMPORT)
    assert "holds the commit lock for 7 s loses it" in said


def test_a_timeout_of_zero_is_refused(tmp_path):
    said = runzeo(tmp_path, CONF.format("transaction-timeout 0") + IMPORT)
    assert "transaction-timeout is 0: it must be more than 0 seconds" in said


# Which ZEO this is


def test_this_zeo_needs_it(names):
    """When this fails ZEO gives the lock back, and the docs may say so."""
    assert not commitlock.gives_back(lambda client: client.connection.close())
    commitlock.install()
    assert type(server.TimeoutThread(5)) is LockTimer
    timer = server.StubTimeoutThread()
    assert (type(timer), timer.timeout) == (LockTimer, 30)


def test_a_zeo_that_gives_the_lock_back_keeps_its_timer(names, monkeypatch):
    close = ServerProtocol.close

    def mended(self):
        if not self.closed:
            self.zeo_storage.notify_disconnected()
        close(self)

    own = server.TimeoutThread
    monkeypatch.setattr(ServerProtocol, "close", mended)
    commitlock.install(timeout=20)
    timer = server.TimeoutThread(5)
    assert (type(timer), timer._timeout) == (own, 5)


@pytest.mark.parametrize(
    "owner, name",
    [
        (server.ZEOStorage, "notify_disconnected"),
        (server.LockManager, "lock"),
        (server, "StorageServer"),
    ],
)
def test_an_unknown_zeo_is_refused_and_left_as_it_is(names, monkeypatch, owner, name):
    before = (server.TimeoutThread, server.StubTimeoutThread)
    monkeypatch.delattr(owner, name)
    with pytest.raises(ImportError, match="is not known .* out of zeo.conf"):
        commitlock.install()
    assert (server.TimeoutThread, server.StubTimeoutThread) == before


def test_a_server_that_takes_its_timer_from_elsewhere_is_refused(names, monkeypatch):
    def elsewhere(storage_id, stats, timeout):
        return server_lock(storage_id, stats, object())

    server_lock = server.LockManager
    monkeypatch.setattr(server, "LockManager", elsewhere)
    with pytest.raises(ImportError, match="takes its timer from elsewhere"):
        commitlock.install()


# The timer


class Loop(asyncio.SelectorEventLoop):
    """A loop whose clock the test moves."""

    now = 0.0

    def time(self):
        return self.now

    def turn(self):
        self.call_soon(self.stop)
        self.run_forever()


class Client:
    """What the timer needs of a ZEOStorage that is connected."""

    def __init__(self, loop):
        self.loop = loop
        self.connection = self.sm_protocol = self
        self.transport = self
        self.done = []

    def get_peername(self):
        return "peer"

    def log(self, text, level):
        self.done.append("log")

    def notify_disconnected(self):
        self.done.append("aborted")

    def close(self):
        self.done.append("closed")

    def abort(self):
        self.done.append("cut")


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


def test_time_in_which_the_server_itself_is_busy_does_not_count(loop):
    timer, client = LockTimer(10), Client(loop)
    timer.begin(client)
    # The server writes a large transaction, and does nothing else meanwhile.
    loop.now = 60
    loop.turn()
    loop.now = 69
    loop.turn()
    assert client.done == []
    loop.now = 71
    loop.turn()
    assert client.done == ["log", "aborted", "closed", "cut"]


@pytest.mark.parametrize("turns", [0, 1])
def test_who_gives_the_lock_back_is_left_alone(loop, turns):
    timer, client = LockTimer(10), Client(loop)
    timer.begin(client)
    for _ in range(turns):
        loop.turn()
    timer.end(client)
    loop.now = 100
    loop.turn()
    assert client.done == []


def test_who_cannot_be_aborted_is_disconnected_nevertheless(loop):
    client = Client(loop)

    def fail():
        raise OSError("disk full")

    client.notify_disconnected = fail
    with pytest.raises(OSError):
        commitlock.cut_off(client)
    assert client.done == ["closed", "cut"]
