"""Several real instances over one ZEO server, ticked at the same moment."""

from __future__ import annotations

from collective.clockwork.tests.engine.zeoprocess import tied
from collective.clockwork.tests.engine.zeostack import Stack
from collective.clockwork.tests.plone import instancehome
from collective.clockwork.tests.plone import tickinstance
from collective.clockwork.tests.plone.ticking import tick_view
from collective.clockwork.tests.plone.tickinstance import MOMENTS
from DateTime import DateTime
from itertools import count
from ZEO.ClientStorage import ClientStorage

import pytest
import subprocess
import sys
import transaction
import ZODB


STORAGE = """\
<zeoclient>
    server 127.0.0.1:{port}
    storage main
  </zeoclient>"""

ROUNDS = 3

#: Starting Zope a few times takes long on a machine that has much else to do.
pytestmark = pytest.mark.timeout(400)


class Instance:
    """A process of ``tickinstance``."""

    def __init__(self, conf, log):
        command = [sys.executable, "-m", tickinstance.__name__, str(conf)]
        with open(log, "ab") as stream:
            self.process = subprocess.Popen(
                tied(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
                cwd=log.parent,
            )
        ready = self.said()
        assert ready == "ready", log.read_text()

    def tick(self, folder):
        self.process.stdin.write(f"{folder}\n")
        self.process.stdin.flush()

    def said(self):
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.kill()
        self.process.communicate()


class Instances(Stack):
    def prepare(self):
        home = self.directory / "home"
        home.mkdir()
        storage = STORAGE.format(port=self.server.port)
        self.conf = instancehome.write(
            home, file="ticks.zcml", storage=storage, products=""
        )
        self.folders = count(1)
        address = ("127.0.0.1", self.server.port)
        self.synced = ZODB.DB(
            ClientStorage(address, storage="main", wait=True, server_sync=True)
        )
        self.root = self.synced.open().root()

    def start_instance(self):
        log = self.directory / f"instance-{next(self.numbers)}.log"
        self.started.append(Instance(self.conf, log))
        transaction.begin()
        return self.started[-1]

    def tick(self, *instances):
        """Have each of them tick, all in one moment; how they were answered."""
        folder = self.directory / f"round-{next(self.folders)}"
        folder.mkdir()
        for instance in instances:
            instance.tick(folder)
        answers = [instance.said() for instance in instances]
        transaction.begin()
        return answers

    def close(self):
        transaction.abort()
        self.synced.close()
        super().close()

    @property
    def size(self):
        return (self.directory / "main.fs").stat().st_size

    @property
    def view(self):
        return tick_view(self.root["Application"])


@pytest.fixture(scope="module")
def instances(tmp_path_factory):
    instances = Instances(tmp_path_factory.mktemp("instances"), ["main"])
    try:
        instances.prepare()
        yield instances
    finally:
        instances.close()


@pytest.fixture(scope="module")
def first(instances):
    return instances.start_instance()


def test_ticks_of_two_instances_at_one_moment_fire_once(instances, first):
    both = first, instances.start_instance()

    for number in range(1, ROUNDS + 1):
        instances.view.setLastTick(DateTime() - 1 / 24)
        transaction.commit()

        assert instances.tick(*both) == ["200 OK", "200 OK"]

        # Both had begun to send it, and what one of them wrote is kept.
        moments = dict(instances.root[MOMENTS])
        assert len(moments) == number
        assert max(moments) == pytest.approx(instances.view.getLastTick().timeTime())


def test_the_timing_and_the_size_of_the_database_outlive_a_restart(instances, first):
    instances.view.setLastTick(DateTime())
    transaction.commit()
    # At the first request plone.protect makes keys for the Zope root.
    assert instances.tick(first) == ["200 OK"]
    moments, size = dict(instances.root[MOMENTS]), instances.size

    assert instances.tick(first) == ["200 OK"]
    first.end()
    restarted = instances.start_instance()
    assert instances.tick(restarted) == ["200 OK"]

    assert dict(instances.root[MOMENTS]) == moments
    assert instances.size == size
