"""A ZEO server, this process's connection to it, and workers in other processes."""

from __future__ import annotations

from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import zeoprocess
from collective.clockwork.tests.engine.zeoprocess import PATIENCE
from itertools import count
from uuid import UUID
from uuid import uuid4

import transaction


class Stack:
    """A server, this process's connection to it, and processes beside it."""

    def __init__(self, directory, storages):
        self.directory = directory
        self.storages = storages
        self.server = zeoprocess.Server(directory, storages)
        self.server.start()
        self.db = zeoprocess.open_database(self.server.port, storages)
        self.started = []
        self.numbers = count()

    def open(self):
        self.connection = self.db.open()
        self.root = self.connection.root()
        self.queue = self.root[KEY][""]

    def _start(self, role, program=zeoprocess.PROGRAM, **options):
        log = self.directory / f"{role}-{next(self.numbers)}.log"
        process = zeoprocess.role(
            role, self.server.port, log, program, storages=self.storages, **options
        )
        self.started.append(process)
        return process

    def worker(
        self,
        uuid=None,
        threads=3,
        grace=5.0,
        poll_interval=5.0,
        program=zeoprocess.PROGRAM,
    ):
        """Start a worker, and return when it is active."""
        uuid = uuid or uuid4()
        process = self._start(
            "worker",
            program,
            uuid=str(uuid),
            threads=threads,
            grace=grace,
            poll_interval=poll_interval,
        )
        process.uuid = uuid
        wait_until(lambda: self.has_entered(uuid), "activation", PATIENCE)
        return process

    def has_entered(self, uuid: UUID):
        transaction.begin()
        agents = self.queue.dispatchers.get(uuid)
        return agents is not None and agents.activated is not None

    def producer(self, puts):
        return self._start("producer", puts=puts)

    def file(self, name):
        return self.directory / name

    def pids(self, name):
        """Process ids of those that began the job with this file."""
        path = self.file(name)
        return path.read_text().split() if path.exists() else []

    def put_behind_gate(self, counter, name="begun"):
        job = Job(
            zeoprocess.count_behind_file,
            counter,
            str(self.file(name)),
            str(self.file("gate")),
        )
        return self.queue.put(job)

    def result(self, job):
        return wait_for_result(job, PATIENCE)

    def close(self):
        for process in self.started:
            process.end()
        self.server.process.end()
        transaction.abort()
        zeoprocess.close_database(self.db)
