"""The processes that ``processes.Child`` starts: one function for each role.

Called as ``child.py ROLE ADDRESS OPTIONS``, with the options in JSON.
"""

from __future__ import annotations

from collective.clockwork.engine.dispatcher import Dispatcher
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.subscribers import AgentInstaller
from server import open_database
from uuid import UUID
from uuid import uuid4
from ZODB.POSException import ConflictError
from zope.component import provideHandler

import json
import logging
import signal
import sys
import threading
import time
import transaction
import work


def say(**figures) -> None:
    """One line for the process that measures."""
    print(json.dumps(figures), flush=True)


def wait_for_go() -> None:
    """Say that all is prepared, and wait."""
    say(ready=True)
    sys.stdin.readline()


def worker(db, threads: int, uuid: str | None = None) -> None:
    """Run jobs until SIGTERM, with an agent of this size."""
    provideHandler(AgentInstaller("main", size=threads))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    dispatcher = Dispatcher(db, uuid=UUID(uuid) if uuid else uuid4())
    dispatcher.activate()
    while not dispatcher.stations and not stop.wait(0.01):
        continue
    say(ready=True)
    stop.wait()
    dispatcher.deactivate()
    conflicts = getattr(db.storage, "conflicts", {})
    say(**{f"{who}_conflicts": n for who, n in conflicts.items()})


def bare(db, threads: int, commits: int, first: int = 0, fresh: bool = False) -> None:
    """Commits of small changes by threads, each to an object of its own.

    The objects are those from the number ``first`` on. With ``fresh`` each commit
    is of another one, which has to be loaded first.
    """

    def commit_all(position: int, barrier) -> None:
        tm = transaction.TransactionManager()
        connection = db.open(tm)
        targets = connection.root()["targets"]
        target = targets[position]
        target.touch()
        tm.commit()
        begin = threads + position * commits
        mine = [targets[n] for n in range(begin, begin + commits)] if fresh else []
        barrier.wait()
        for number in range(commits):
            tm.begin()
            (mine[number] if fresh else target).touch()
            tm.commit()
        barrier.wait()
        connection.close()

    barrier = threading.Barrier(threads + 1)
    running = [
        threading.Thread(target=commit_all, args=(position, barrier), daemon=True)
        for position in range(first, first + threads)
    ]
    for thread in running:
        thread.start()
    wait_for_go()
    barrier.wait()
    begun = time.perf_counter()
    barrier.wait()
    took = time.perf_counter() - begun
    say(per_second=threads * commits / took)


def producer(db, puts: int, write: bool = False, groupable: bool = False) -> None:
    """One job in each transaction, as fast as it goes."""
    connection = db.open()
    queue = connection.root()[KEY][""]
    targets = list(connection.root()["targets"].values())[:puts] if write else None
    # The first put of a connection reserves its intake.
    queue.put(Job(work.nothing))
    transaction.commit()
    wait_for_go()
    conflicts = 0
    begun_at, begun = time.time(), time.perf_counter()
    for number in range(puts):
        while True:
            transaction.begin()
            job = Job(targets[number].touch) if write else Job(work.nothing, number)
            queue.put(job, groupable=groupable)
            try:
                transaction.commit()
                break
            except ConflictError:
                transaction.abort()
                conflicts += 1
    took = time.perf_counter() - begun
    say(per_second=puts / took, conflicts=conflicts, begun_at=begun_at)


def prober(db, puts: int, per_second: float) -> None:
    """Single jobs on an idle worker: milliseconds to their start and result."""
    connection = db.open()
    queue = connection.root()[KEY][""]
    queue.put(Job(work.nothing))
    transaction.commit()
    wait_for_go()
    to_start, to_result = [], []
    due = time.time()
    for _ in range(puts):
        due += 1 / per_second
        time.sleep(max(0.0, due - time.time()))
        transaction.begin()
        job = queue.put(Job(work.now))
        transaction.commit()
        committed = time.time()
        started, seen = _wait_for(job, db)
        to_start.append((started - committed) * 1000)
        to_result.append((seen - committed) * 1000)
    say(to_start=to_start, to_result=to_result)


def _wait_for(job, db) -> tuple[float, float]:
    while True:
        looked = db.lastTransaction()
        transaction.begin()
        if job.status == "completed-status":
            return job.result, time.time()
        # Watching this costs no call to the server.
        while db.lastTransaction() == looked:
            time.sleep(0.0005)


ROLES = {"worker": worker, "bare": bare, "producer": producer, "prober": prober}


def main(role: str, address: str, options: str) -> None:
    """Do one role, with a database of its own."""
    logging.basicConfig(level=logging.ERROR)
    db = open_database(address)
    ROLES[role](db, **json.loads(options))
    transaction.abort()
    db.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
