"""The measurements. Each has a fresh server, and returns figures by key."""

from __future__ import annotations

from BTrees.LOBTree import LOBTree
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import ExitStack
from processes import Child
from server import open_database
from server import Server
from statistics import median
from statistics import quantiles

import queues
import time
import transaction
import work


@contextmanager
def database(targets: int = 0, kind=Server) -> Iterator[tuple]:
    """A server, and a database of it with the queue and so many targets."""
    with kind() as server:
        db = open_database(server.address)
        try:
            queues.install(db)
            _add_targets(db, max(targets, 8))
            yield server, db
        finally:
            transaction.abort()
            db.close()


def _add_targets(db, count: int) -> None:
    connection = db.open()
    targets = connection.root()["targets"] = LOBTree()
    for number in range(count):
        targets[number] = work.Target()
        if number % 500 == 499:
            transaction.commit()
    transaction.commit()
    connection.close()


@contextmanager
def workers(address: int | str, count: int, threads: int) -> Iterator[list[Child]]:
    """So many worker processes, ready; stopped at the end if they still run."""
    with ExitStack() as stack:
        started = [
            stack.enter_context(Child("worker", address, threads=threads))
            for _ in range(count)
        ]
        for child in started:
            child.ready()
        yield started
        for child in started:
            if child.said is None:
                child.stop()


def bare_commits(commits: int, kind=Server) -> float:
    """Small commits per second of one process with three threads."""
    with database(kind=kind) as (server, _db):
        with Child("bare", server.address, threads=3, commits=commits // 3) as child:
            child.ready().go()
            return child.figures()["per_second"]


def loaded_commits(commits: int) -> float:
    """The same, of objects that have to be loaded first, as jobs have to be."""
    with database(commits + 3) as (server, _db):
        options = {"threads": 3, "commits": commits // 3, "fresh": True}
        with Child("bare", server.address, **options) as child:
            child.ready().go()
            return child.figures()["per_second"]


def two_processes(commits: int) -> float:
    """Pairs of small commits per second, one of each pair by another process.

    One process has one thread and the other three, as a producer and a worker: what
    end to end could be at most if queueing and running a job were one such commit each.
    """
    with database() as (server, _db), ExitStack() as stack:
        children = [
            stack.enter_context(Child("bare", server.address, **options))
            for options in (
                {"threads": 1, "commits": commits},
                {"threads": 3, "commits": commits // 3, "first": 1},
            )
        ]
        for child in children:
            child.ready()
        for child in children:
            child.go()
        return min(child.figures()["per_second"] for child in children)


def drain(
    jobs: int,
    write: bool,
    processes: int,
    threads: int,
    kind=Server,
    groupable: bool = False,
) -> dict:
    """Jobs per second from the first start to the last end, all queued before."""
    with database(jobs if write else 0, kind) as (server, db):
        queues.put_many(db, jobs, write, groupable=groupable)
        with workers(server.address, processes, threads) as started:
            queues.wait_until_empty(db, jobs)
            memory = [child.peak_memory() for child in started]
            said = [child.stop() for child in started]
        return {
            "memory": None if None in memory else max(memory),
            "per_second": jobs / queues.check_and_time(db, jobs, write),
            "claim_conflicts": sum(one.get("claims_conflicts", 0) for one in said),
            "job_conflicts": sum(one.get("others_conflicts", 0) for one in said),
        }


def quota_of_one(jobs: int) -> float:
    """Jobs per second through one quota of size 1, one worker with 3 threads."""
    with database() as (server, db):
        queues.put_many(db, jobs, write=False, quota="one")
        with workers(server.address, 1, 3):
            queues.wait_until_empty(db, jobs)
        queues.check_order(db)
        return jobs / queues.check_and_time(db, jobs, write=False)


def enqueue(puts: int) -> float:
    """Puts per second of one producer."""
    with database() as (server, _db):
        with Child("producer", server.address, puts=puts) as child:
            child.ready().go()
            return child.figures()["per_second"]


def growth(puts: int) -> dict:
    """What a job takes in the Data.fs, put alone while a worker runs the others."""
    with database() as (server, db):
        with (
            Child("producer", server.address, puts=puts) as child,
            workers(server.address, 1, 3),
        ):
            child.ready()
            queues.wait_until_empty(db, 1)
            db.storage.pack(time.time(), wait=True)
            before = server.size
            child.go()
            child.figures()
            queues.wait_until_empty(db, puts + 1)
            grown = server.size - before
        db.storage.pack(time.time(), wait=True)
        return {
            "bytes_per_job": grown / puts,
            "bytes_per_job_packed": (server.size - before) / puts,
        }


def end_to_end(jobs: int, groupable: bool = False) -> float:
    """Jobs per second, one put per transaction while a worker runs them."""
    options = {"puts": jobs, "write": True, "groupable": groupable}
    with database(jobs) as (server, db):
        with (
            Child("producer", server.address, **options) as child,
            workers(server.address, 1, 3),
        ):
            child.ready()
            queues.wait_until_empty(db, 1)
            child.go()
            begun_at = child.figures()["begun_at"]
            queues.wait_until_empty(db, jobs + 1)
        return jobs / (queues.last_end(db) - begun_at)


def latency(puts: int, per_second: float) -> dict:
    """Milliseconds from commit to start, and to the result, on an idle worker."""
    with database() as (server, _db), workers(server.address, 1, 3):
        options = {"puts": puts, "per_second": per_second}
        with Child("prober", server.address, **options) as child:
            child.ready().go()
            said = child.figures()
    return {
        "start_latency_ms": median(said["to_start"]),
        "start_latency_ms_p95": quantiles(said["to_start"], n=20)[-1],
        "result_latency_ms": median(said["to_result"]),
        "result_latency_ms_p95": quantiles(said["to_result"], n=20)[-1],
    }


def conflicts(producers: int, puts: int) -> dict:
    """ConflictErrors while producers queue and two workers run the jobs."""
    with database() as (server, db), ExitStack() as stack:
        children = [
            stack.enter_context(Child("producer", server.address, puts=puts))
            for _ in range(producers)
        ]
        with workers(server.address, 2, 2) as started:
            for child in children:
                child.ready()
            for child in children:
                child.go()
            said = [child.figures() for child in children]
            queues.wait_until_empty(db, producers * (puts + 1))
            last_words = [child.stop() for child in started]
    return {
        "producer_conflicts": sum(one["conflicts"] for one in said),
        "claim_conflicts": sum(one.get("claims_conflicts", 0) for one in last_words),
        "job_conflicts": sum(one.get("others_conflicts", 0) for one in last_words),
    }


def idle(seconds: float) -> dict:
    """What an idle worker uses: processor, and bytes a day for five of them.

    The bytes of a day are reckoned: those of one sign of life times the number
    that five idle workers give in a day, plus what the file grew besides.
    """
    with database() as (server, db), workers(server.address, 1, 3) as (child,):
        time.sleep(1)
        size, used = server.size, child.cpu_seconds()
        time.sleep(seconds)
        growth = (server.size - size) / seconds
        percent = None
        if used is not None:
            percent = (child.cpu_seconds() - used) / seconds * 100
        interval, change = queues.pings(db)
        size = server.size
        for _ in range(20):
            change()
        bytes_per_ping = (server.size - size) / 20
    return {
        "idle_cpu_percent": percent,
        "idle_bytes_per_day": 5 * 86400 * (bytes_per_ping / interval + growth),
    }
