"""Real processes for the tests: a ZEO server, workers and producers.

Run as a script it is one of the latter: ``zeoprocess.py ROLE PORT OPTIONS``,
with the options in JSON. Its log goes to a file that the tests read.
"""

from __future__ import annotations

from collective.clockwork.engine.dispatcher import Dispatcher
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.subscribers import AgentInstaller
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import tied as tie
from collective.clockwork.tests.engine import work
from pathlib import Path
from uuid import UUID
from ZEO.ClientStorage import ClientStorage
from ZODB.POSException import ConflictError
from zope.component import provideHandler

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import transaction
import ZODB


#: Seconds within which everything here must have happened.
PATIENCE = 30


def open_database(port: int, storages: list[str]) -> ZODB.DB:
    """The database "main", with the others of the server beside it."""
    databases: dict = {}
    for name in storages:
        storage = ClientStorage(
            ("127.0.0.1", port), storage=name, wait=True, wait_timeout=PATIENCE
        )
        ZODB.DB(storage, databases=databases, database_name=name, pool_size=20)
    return databases["main"]


def close_database(db: ZODB.DB) -> None:
    """Close all databases that were opened together."""
    for database in db.databases.values():
        database.close()


def append(path: str, line: str) -> None:
    """Add a line to a file, whoever else does so."""
    with open(path, "a") as stream:
        stream.write(f"{line}\n")


def count_behind_file(counter, begun: str, gate: str) -> int:
    """Job: say that it has begun, wait for the gate, and count."""
    append(begun, str(os.getpid()))
    wait_until(Path(gate).exists, "opening the gate", PATIENCE)
    return counter.add()


def note_in_order(ledger, number: int) -> None:
    """Job: note a number behind the others."""
    ledger.note(number)


def process_id() -> int:
    """Job: which process ran it."""
    return os.getpid()


def tied(command: list[str]) -> list[str]:
    """This command, as one that does not outlive the process that starts it."""
    # Without site-packages, which it does not need, it costs a few milliseconds.
    return [sys.executable, "-I", "-S", tie.__file__, str(os.getpid()), *command]


class Process:
    """A process that is ended at the latest by ``end``, or when this one ends.

    It must be started by a thread that lives as long as it is needed: for the
    kernel it is that thread whose end counts.
    """

    def __init__(self, command: list[str], log: Path):
        self.log = log
        with open(log, "ab") as stream:
            self.process = subprocess.Popen(
                tied(command), stdout=stream, stderr=stream, cwd=log.parent
            )

    def said(self) -> str:
        """All that it logged so far."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(PATIENCE)

    def end(self) -> None:
        """Whatever it does, it is gone afterwards."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def program(module: str) -> list[str]:
    """How to run a module that takes the arguments of this one."""
    return [sys.executable, "-m", module]


#: How to run this module.
PROGRAM = program("collective.clockwork.tests.engine.zeoprocess")


def role(name: str, port: int, log: Path, program=PROGRAM, **options) -> Process:
    """Start a worker or a producer."""
    return Process([*program, name, str(port), json.dumps(options)], log)


def output_of(script: str, directory: Path) -> str:
    """What a script prints in a process of its own, which has to end well."""
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A ZEO server with these storages, which may be stopped and started."""

    def __init__(self, directory: Path, storages: list[str]):
        self.directory = directory
        self.storages = storages
        self.port = free_port()
        parts = [f"<zeo>\n  address 127.0.0.1:{self.port}\n</zeo>"]
        for name in storages:
            path = directory / f"{name}.fs"
            parts.append(f"<filestorage {name}>\n  path {path}\n</filestorage>")
        self.configuration = directory / "zeo.conf"
        self.configuration.write_text("\n".join(parts) + "\n")
        self.process: Process | None = None

    def start(self) -> None:
        """Return when it listens."""
        command = [sys.executable, "-m", "ZEO.runzeo", "-C", str(self.configuration)]
        self.process = Process(command, self.directory / "zeo.log")
        wait_until(self._listens, "the start of ZEO", PATIENCE)

    def _listens(self) -> bool:
        if self.process.process.poll() is not None:
            raise AssertionError(f"ZEO ended:\n{self.process.said()}")
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


def worker(db, uuid: str, threads: int, poll_interval: float, grace: float) -> None:
    """Run jobs until SIGTERM."""
    provideHandler(AgentInstaller("main", size=threads))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    dispatcher = Dispatcher(db, poll_interval=poll_interval, uuid=UUID(uuid))
    dispatcher.activate()
    stop.wait()
    dispatcher.deactivate(grace)


def producer(db, puts: int) -> None:
    """Queue jobs, one in each transaction; says how many conflicts it met."""
    connection = db.open()
    queue = connection.root()[KEY][""]
    conflicts = 0
    done = 0
    while done < puts:
        transaction.begin()
        queue.put(Job(work.nothing))
        try:
            transaction.commit()
            done += 1
        except ConflictError:
            transaction.abort()
            conflicts += 1
    print(f"conflicts: {conflicts}", flush=True)


def main(role: str, port: str, options: str) -> None:
    """Do what the tests asked for."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    arguments = json.loads(options)
    db = open_database(int(port), arguments.pop("storages"))
    {"worker": worker, "producer": producer}[role](db, **arguments)
    transaction.abort()
    close_database(db)


if __name__ == "__main__":
    main(*sys.argv[1:])
