"""``make bench-design``: what the structures of the engine cost when there are many.

Each figure is a ratio to a plain case that is measured in turn with it, in the
same run, so that a busy machine slows down both. Cases that must come out
right besides are counted. ``design.py order lanes`` measures these parts alone.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.attempt import Run
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.interfaces import ReassignedError
from collective.clockwork.engine.job import Job
from contextlib import contextmanager
from contextlib import ExitStack
from measures import database
from measures import workers
from processes import Child
from scale import Claimer
from scale import LIMIT
from scale import OURS
from server import open_database
from statistics import mean
from statistics import median
from uuid import UUID
from ZODB.utils import u64

import logging
import measures
import queues
import sys
import time
import transaction
import work


#: Objects that a claimer's connection keeps in memory, as in Plone's zope.conf.
CACHE = 30_000
#: Claims that are timed in each case.
CLAIMS = 40
#: Jobs of the runs with worker processes.
JOBS = 1_200
#: How often a run meets a take-over.
MEETINGS = 100
#: Producers at once, and the puts of each.
PRODUCERS, PUTS = 4, 200


def show(name: str, value: float | str) -> None:
    """One line of the table."""
    text = value if isinstance(value, str) else f"{value:.3g}"
    print(f"{name:<70}{text:>8}", flush=True)


@contextmanager
def queue_of(db) -> Iterator[tuple]:
    """The queue, and the transaction manager of its connection."""
    tm = transaction.TransactionManager()
    connection = db.open(tm)
    try:
        yield connection.root()[KEY][""], tm
    finally:
        tm.abort()
        connection.close()


# What a claim costs


def claims(*fills: Callable) -> list[tuple[float, float]]:
    """Milliseconds of the first and of the median later claim, for each filling."""
    with ExitStack() as stack:
        claimers = []
        for fill in fills:
            server, db = stack.enter_context(database())
            fill(db)
            # As a worker that has just begun: with nothing in its caches.
            fresh = open_database(server.address)
            fresh.setCacheSize(CACHE)
            stack.callback(fresh.close)
            claimers.append(Claimer(fresh))
        first = [claimer.timed() for claimer in claimers]
        rounds = [[claimer.timed() for claimer in claimers] for _ in range(CLAIMS)]
        for claimer in claimers:
            if len(claimer.agent.claims.entries) != LIMIT:
                raise queues.WrongError("there were not enough jobs to claim")
    later = [median(times) for times in zip(*rounds, strict=True)]
    return [(a * 1000, b * 1000) for a, b in zip(first, later, strict=True)]


def compare(what: str, cases: dict[str, Callable]) -> None:
    """Show what claims cost in each case, over the first one."""
    (base_first, base), *others = claims(*cases.values())
    show(f"{what}, {next(iter(cases))}: ms", base)
    for case, (first, later) in zip(list(cases)[1:], others, strict=True):
        show(f"{what}, {case}", later / base)
        show(f"{what}, {case}: a worker's first claim", first / base_first)


def put_by(db, producers: int, waiting: int) -> None:
    """Let so many connections queue a job each, and claim those; then queue more.

    ``waiting`` of the connections queue the jobs that are left, in turn.
    """
    db.setPoolSize(producers + 20)
    managers = [transaction.TransactionManager() for _ in range(producers)]
    roots = [db.open(tm).root() for tm in managers]
    for tm, root in zip(managers, roots, strict=True):
        root[KEY][""].put(Job(work.nothing))
        tm.commit()
    claimer = Claimer(db)
    while len(claimer.queue):
        claimer.timed()
    claimer.timed()
    claimer.queue.dispatchers[OURS].deactivate()
    claimer.queue.dispatchers.unregister(OURS)
    claimer.tm.commit()
    needed = (CLAIMS + 2) * LIMIT
    share = -(-needed // waiting)
    for tm, root in zip(managers[:waiting], roots[:waiting], strict=True):
        tm.begin()
        for number in range(share):
            root[KEY][""].put(Job(work.nothing, number))
        tm.commit()


def intakes() -> None:
    """Claims with the jobs of few and of many producers."""
    compare(
        "claim: intakes with waiting jobs",
        {
            "1": lambda db: put_by(db, 1, 1),
            "100": lambda db: put_by(db, 100, 100),
            "500": lambda db: put_by(db, 500, 500),
        },
    )
    compare(
        "claim: intakes, jobs in one of them",
        {
            "1": lambda db: put_by(db, 1, 1),
            "100": lambda db: put_by(db, 100, 1),
            "500": lambda db: put_by(db, 500, 1),
        },
    )


def put_in_lanes(db, count: int, lanes: int, size: int) -> None:
    """Queue jobs of so many quotas of this size, one after the other."""
    with queue_of(db) as (queue, tm):
        for lane in range(lanes):
            queue.quotas.create(f"lane{lane}", size=size)
        tm.commit()
        for first in range(0, count, queues.BATCH):
            for number in range(first, min(first + queues.BATCH, count)):
                job = Job(work.nothing, number)
                job.quota_names = (f"lane{number % lanes}",)
                queue.put(job)
            tm.commit()


def fill_quotas(db, lanes: int) -> None:
    """Let so many quotas be filled, with a job that waits for each, then queue more."""
    put_in_lanes(db, 2 * lanes, lanes, 1)
    with queue_of(db) as (queue, tm):
        busy = queue.dispatchers.register(UUID(int=2))
        busy["main"] = Agent(size=lanes)
        busy.activate()
        tm.commit()
        while busy["main"].claimJob() is not None:
            tm.commit()
        tm.commit()
    queues.put_many(db, (CLAIMS + 2) * LIMIT, write=False)


def lanes() -> None:
    """Claims with few and with many quotas, and several workers that share them."""
    needed = (CLAIMS + 2) * LIMIT
    compare(
        "claim: quotas with room",
        {
            "1": lambda db: put_in_lanes(db, needed, 1, LIMIT),
            "100": lambda db: put_in_lanes(db, needed, 100, LIMIT),
            "500": lambda db: put_in_lanes(db, needed, 500, LIMIT),
        },
    )
    compare(
        "claim: quotas without room beside other jobs",
        {
            "1": lambda db: fill_quotas(db, 1),
            "100": lambda db: fill_quotas(db, 100),
            "500": lambda db: fill_quotas(db, 500),
        },
    )
    for processes in (1, 2, 4):
        _drain_lanes(processes)


def _drain_lanes(processes: int) -> None:
    def put_plain(db) -> None:
        queues.put_many(db, JOBS, write=False)

    # The machine's pace drifts: the plain case before and behind the others.
    plain = [drained(processes, put_plain)[0]]
    found = {
        count: drained(processes, lambda db, n=count: put_in_lanes(db, JOBS, n, 1))
        for count in (10, 100)
    }
    plain.append(drained(processes, put_plain)[0])
    for count, (rate, conflicts) in found.items():
        name = f"jobs/s: {count} quotas of size 1, {processes} workers x 2"
        show(f"{name}, over no quota", rate / mean(plain))
        show(f"{name}: conflicts of claims per 100 jobs", conflicts / JOBS * 100)


def drained(processes: int, fill: Callable) -> tuple[float, int]:
    """Jobs per second, and the conflicts that claims met."""
    with measures.database() as (server, db):
        fill(db)
        with workers(server.address, processes, 2) as started:
            queues.wait_until_empty(db, JOBS)
            said = [child.stop() for child in started]
        rate = JOBS / queues.check_and_time(db, JOBS, write=False)
    return rate, sum(one.get("claims_conflicts", 0) for one in said)


# What must come out right


def attempts() -> None:
    """The comparison at the start of a run, and the conflict that ends a lost one."""
    refused = {"before it begins": 0, "before its commit": 0}
    checks, runs = [], []
    with database(MEETINGS) as (server, db), ExitStack() as stack:
        queues.put_many(db, MEETINGS, write=True)
        other = open_database(server.address)
        stack.callback(other.close)
        there, their_tm = stack.enter_context(queue_of(other))
        claimer = Claimer(db)

        def take_over() -> None:
            _wait_until_both_see_the_same(db, other)
            their_tm.begin()
            agents = there.dispatchers[OURS]
            agents.deactivate()
            agents.activate()
            their_tm.commit()

        for when in (*refused, None) * MEETINGS:
            _wait_until_both_see_the_same(db, other)
            claimer.tm.begin()
            job = claimer.agent.claimJob()
            attempt = job.attempt
            claimer.tm.commit()
            if when == "before it begins":
                take_over()
                _wait_until_both_see_the_same(db, other)
            claimer.tm.begin()
            run = Run(job, claimed_attempt=attempt, agent=claimer.agent)
            if when == "before its commit":
                claimer.tm.get().addBeforeCommitHook(take_over)
            if when is None:
                checks.append(_seconds(run._assert_owned, 100))
            try:
                runs.append(_seconds(run.go))
            except ReassignedError:
                refused[when] += 1
            claimer.tm.abort()
        claimer.tm.begin()
        targets = claimer.queue._p_jar.root()["targets"].values()
        landed = sum(target.count for target in targets)
    for when, count in refused.items():
        show(f"take-over of a run {when}: refused, of {MEETINGS}", str(count))
    show(
        "effects beyond one for each run that was not refused", str(landed - len(runs))
    )
    show("comparison of the attempt: share of a run", mean(checks) / mean(runs))


def _wait_until_both_see_the_same(db, other) -> None:
    while db.lastTransaction() != other.lastTransaction():
        time.sleep(0.001)


def _seconds(call: Callable, times: int = 1) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - begun) / times


def order() -> None:
    """Jobs of several producers at once, claimed meanwhile."""
    with database() as (server, db), ExitStack() as stack:
        children = [
            stack.enter_context(Child("producer", server.address, puts=PUTS))
            for _ in range(PRODUCERS)
        ]
        for child in children:
            child.ready()
        claimer = Claimer(db)
        for child in children:
            child.go()
        tids: list[int] = []
        while len(tids) < PRODUCERS * (PUTS + 1):
            claimer.timed()
            jobs = [job for job, _attempt, _key in claimer.agent.claims.entries]
            tids += [u64(job._p_serial) for job in jobs]
        for child in children:
            child.figures()
    wrong = sum(a > b for a, b in zip(tids, tids[1:], strict=False))
    show(f"jobs of {PRODUCERS} producers, claimed meanwhile", str(len(tids)))
    show("of these claimed before one that was committed earlier", str(wrong))


def main() -> None:
    """Measure all."""
    # That a job was taken over is what is wanted here.
    logging.disable(logging.CRITICAL)
    parts = (intakes, lanes, attempts, order)
    wanted = sys.argv[1:] or [part.__name__ for part in parts]
    for part in parts:
        if part.__name__ in wanted:
            part()


if __name__ == "__main__":
    main()
