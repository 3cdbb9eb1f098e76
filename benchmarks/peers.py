"""``make bench-peers``: the same work through Celery, Huey and the queue in turn.

The work is a job that writes one persistent object over ZEO and is retried on
conflict. One producer puts jobs one by one while one worker with three threads runs
them; what counts is the time from the first put to the last job's end. The queue does
it a second time with jobs that may share a transaction. Each is measured several times
in turn, and the best run of each is compared.
"""

from __future__ import annotations

from bench import machine
from bench import rounded
from collections.abc import Callable
from contextlib import closing
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import argparse
import json
import measures
import os
import socket
import subprocess
import sys
import time
import transaction


HERE = Path(__file__).parent
LATEST = HERE / "latest-peers.json"
#: What is aimed at, by key.
GOALS = {"vs_celery": 1.25, "vs_celery_grouped": 2.0}
#: Threads of the one worker.
THREADS = 3
#: Seconds in which a worker must have begun, and have ended its work.
PATIENCE = 120

CELERY = (
    *("-m", "celery", "-A", "peerwork", "worker", "--pool=threads"),
    *(f"--concurrency={THREADS}", "--loglevel=ERROR"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
)
HUEY = (
    *("-m", "huey.bin.huey_consumer", "peerwork.huey", f"--workers={THREADS}"),
    *("--worker-type=thread", "--quiet", "--no-periodic"),
)


def redis_answers() -> bool:
    """Whether there is a redis-server."""
    try:
        with socket.create_connection(("127.0.0.1", 6379), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(5) == b"+PONG"
    except OSError:
        return False


def clear_redis(queue: str) -> None:
    """Remove what these measurements left in Redis, by the queue's name."""
    import redis

    with closing(redis.Redis()) as client:
        keys = [*client.scan_iter(f"*{queue}*")]
        if keys:
            client.delete(*keys)


@contextmanager
def consumer(command: tuple[str, ...], environment: dict[str, str]):
    """A worker of Celery or Huey."""
    process = subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, **environment},
        cwd=HERE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(db, first: int, last: int) -> None:
    """Return when all these targets are written; RuntimeError after a while."""
    deadline = time.monotonic() + PATIENCE
    tm = transaction.TransactionManager()
    connection = db.open(tm)
    targets = connection.root()["targets"]
    missing = list(range(first, last))
    while missing:
        looked = db.lastTransaction()
        tm.begin()
        while missing and targets[missing[-1]].count:
            missing.pop()
        while missing and db.lastTransaction() == looked:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(missing)} targets were never written")
            time.sleep(0.002)
    tm.abort()
    connection.close()


def peer(command: tuple[str, ...], name: str, jobs: int, safe: bool = False) -> float:
    """Jobs per second of Celery or Huey."""
    queue = f"clockwork-bench-{os.getpid()}"
    with measures.database(jobs + 1) as (server, db):
        environment = {
            "CLOCKWORK_BENCH_ADDRESS": str(server.address),
            "CLOCKWORK_BENCH_QUEUE": queue,
        }
        if safe:
            environment["CLOCKWORK_BENCH_SAFE"] = "yes"
        options = {"name": name, "first": 0, "last": jobs}
        try:
            with consumer(command, environment):
                producer = subprocess.Popen(
                    [sys.executable, __file__, "--produce", json.dumps(options)],
                    env={**os.environ, **environment},
                    cwd=HERE,
                    stdin=subprocess.PIPE,
                    text=True,
                    stdout=subprocess.PIPE,
                )
                with producer:
                    # Its first job says that the worker has begun.
                    wait_for(db, jobs, jobs + 1)
                    producer.stdin.write("go\n")
                    producer.stdin.flush()
                    begun_at = float(producer.stdout.readline())
                    wait_for(db, 0, jobs)
                    took = time.time() - begun_at
        finally:
            clear_redis(queue)
    return jobs / took


def produce(name: str, first: int, last: int) -> None:
    """In a process of its own: put the jobs, one by one."""
    import peerwork

    put: Callable = peerwork.huey_touch
    if name == "celery":
        put = peerwork.celery_touch.delay
    put(last)
    sys.stdin.readline()
    print(time.time(), flush=True)
    for number in range(first, last):
        put(number)


def measure(jobs: int, rounds: int) -> dict:
    """Figures by key, and the single runs."""
    names = ("ours", "grouped", "puts", "celery", "celery_safe", "huey")
    runs: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        runs["ours"].append(measures.end_to_end(jobs))
        runs["grouped"].append(measures.end_to_end(jobs, groupable=True))
        runs["puts"].append(measures.enqueue(jobs))
        runs["celery"].append(peer(CELERY, "celery", jobs))
        runs["celery_safe"].append(peer(CELERY, "celery", jobs, safe=True))
        runs["huey"].append(peer(HUEY, "huey", jobs))
        print({name: round(found[-1]) for name, found in runs.items()}, flush=True)
    best = {name: max(found) for name, found in runs.items()}
    return {
        "write_jobs_per_s": best["ours"],
        "peer_celery_write_jobs_per_s": best["celery"],
        "vs_celery": best["ours"] / best["celery"],
        "grouped_write_jobs_per_s": best["grouped"],
        "vs_celery_grouped": best["grouped"] / best["celery"],
        "puts_alone_vs_celery": best["puts"] / best["celery"],
        "peer_celery_safe_write_jobs_per_s": best["celery_safe"],
        "vs_celery_safe": best["ours"] / best["celery_safe"],
        "vs_celery_safe_grouped": best["grouped"] / best["celery_safe"],
        "peer_huey_write_jobs_per_s": best["huey"],
        "vs_huey": best["ours"] / best["huey"],
        "runs": {name: [rounded(n) for n in found] for name, found in runs.items()},
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--quick", action="store_true", help="a fifth of the jobs, and one round"
    )
    parser.add_argument("--produce", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.produce:
        produce(**json.loads(options.produce))
        return
    if not redis_answers():
        print("No redis-server answers at 127.0.0.1:6379: nothing to compare with.")
        return
    if options.quick:
        options.jobs, options.rounds = options.jobs // 5, 1
    figures = measure(options.jobs, options.rounds)
    for key, value in figures.items():
        if key != "runs":
            goal = f"goal >= {GOALS[key]}" if key in GOALS else ""
            print(f"{key:<32}{rounded(value):>12}  {goal}".rstrip())
    names = ("celery", "redis", "huey")
    written = {k: v if k == "runs" else rounded(v) for k, v in figures.items()}
    written["quick"] = options.quick
    written["machine"] = machine() | {name: version(name) for name in names}
    LATEST.write_text(json.dumps(written, indent=2) + "\n")
    print(f"written to {os.path.relpath(LATEST)}")


if __name__ == "__main__":
    main()
