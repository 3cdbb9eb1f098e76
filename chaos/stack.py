"""The processes of a run: server, workers behind proxies, producers."""

from __future__ import annotations

from chaos import stages
from chaos.jobs import Line
from chaos.ledger import LEDGER
from chaos.ledger import LINE
from chaos.server import Proxies
from chaos.server import Server
from collective.clockwork.engine.interfaces import DatabaseOpened
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.subscribers import queue_installer
from collective.clockwork.tests.engine.zeoprocess import Process
from pathlib import Path
from uuid import uuid4
from ZEO.ClientStorage import ClientStorage

import BTrees
import os
import sys
import time
import transaction
import ZODB


ROOT = Path(__file__).parent.parent
#: Sign of life and death of a worker, in seconds: short, so that much happens.
PING, DEATH = 0.5, 2.5
#: Seconds by which the clocks of the first two workers are wrong.
OFFSETS = (1800, -1800)
THREADS = 2


class Actor:
    """A process that is started again whenever it ended before its time."""

    def __init__(self, directory: Path, name: str, command: list):
        self.directory = directory
        self.name = name
        self.command = command
        self.process: Process | None = None
        #: When to start it, on the monotonic clock.
        self.due = 0.0
        self.starts = 0
        #: When to continue it; None unless it is stopped.
        self.frozen_until: float | None = None

    def start(self) -> None:
        """Start it, or start it again."""
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        environment = [f"PYTHONPATH={path}", f"{stages.DIRECTORY}={self.directory}"]
        environment.append(f"{stages.WORKER}={self.name}")
        command = ["env", *environment, sys.executable, "-m", *self.command]
        self.process = Process(command, self.directory / f"{self.name}.log")
        self.starts += 1

    @property
    def pid(self) -> int:
        """Of the process that runs, or ran last."""
        return self.process.process.pid

    @property
    def code(self) -> int | None:
        """How it ended; None while it runs."""
        return self.process.process.poll()

    def signal(self, sign: int) -> None:
        """Send a signal, if it runs."""
        if self.code is None:
            os.kill(self.pid, sign)


class Worker(Actor):
    """A worker behind a proxy of its own."""

    def __init__(self, stack: Stack, number: int, intervals=(PING, DEATH)):
        self.proxy = stack.proxies.make(stack.server.port)
        self.intervals = [str(value) for value in intervals]
        self.offset = str(OFFSETS[number] if number < len(OFFSETS) else 0)
        super().__init__(stack.directory, f"worker{number}", [])
        self.rename()

    def rename(self) -> None:
        """From the next start on, be a worker that nobody has seen before."""
        self.uuid = uuid4()
        self.command = ["chaos.worker", str(self.proxy.port), str(self.uuid)]
        self.command += [str(THREADS), self.offset, *self.intervals]


class Stack:
    """All of it, and this process's own connection to the database."""

    def __init__(self, directory: Path, timeout: int | None = None):
        self.directory = directory
        stages.armed(directory).mkdir()
        stages.taken(directory).mkdir()
        self.proxies = Proxies()
        self.server = Server(directory, timeout)
        self.server.start()
        self.actors: list[Actor] = []
        storage = ClientStorage(
            ("127.0.0.1", self.server.port), storage="main", wait=True, wait_timeout=60
        )
        self.db = ZODB.DB(storage, database_name="main")
        queue_installer(DatabaseOpened(self.db))
        self.root = self.db.open().root()

    def prepare(self, producers: int) -> None:
        """Make the quotas and an empty ledger."""
        quotas = self.root[KEY][""].quotas
        quotas.create("line", 1)
        quotas.create("pair", 2)
        ledger = self.root[LEDGER] = BTrees.family64.IO.BTree()
        for number in range(producers):
            ledger[number] = BTrees.family64.IO.BTree()
        self.root[LINE] = Line()
        transaction.commit()

    def worker(self, number: int, **options) -> Worker:
        """Start a worker."""
        worker = Worker(self, number, **options)
        worker.start()
        self.actors.append(worker)
        return worker

    def producer(self, number: int, seed: int, size: str, seconds: float) -> Actor:
        """Start a producer."""
        command = ["chaos.producer", str(self.server.port), str(seed), size]
        command += [str(number), str(seconds)]
        actor = Actor(self.directory, f"producer{number}", command)
        actor.start()
        self.actors.append(actor)
        return actor

    def look(self, question):
        """The answer to a question about the root, once the server gives it."""
        deadline = time.monotonic() + 120
        while True:
            try:
                transaction.begin()
                return question(self.root)
            except Exception:
                # The server is away, or this connection has not noticed yet
                # that it is back.
                transaction.abort()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def close(self) -> None:
        """End all processes."""
        for actor in self.actors:
            actor.process.end()
        transaction.abort()
        self.db.close()
        self.server.process.end()
        self.proxies.close()
