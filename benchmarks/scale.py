"""What a claim costs with 100,000 jobs waiting, over what it costs with 1,000."""

from __future__ import annotations

from collections.abc import Callable
from collective.clockwork.engine import clock
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.attempt import DONE
from collective.clockwork.engine.base import identity
from collective.clockwork.engine.claims import Claim
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.sweeping import sweep
from contextlib import ExitStack
from datetime import timedelta
from measures import database
from server import open_database
from statistics import median
from uuid import UUID

import queues
import time
import transaction


#: Jobs of one claim, and claims that are timed.
LIMIT = 16
CLAIMS = 40
#: The two numbers of waiting jobs that are compared.
FEW, MANY = 1_000, 100_000
#: Names this measurement's dispatcher.
OURS = UUID(int=1)


def claim_scale(few: int = FEW, many: int = MANY) -> dict:
    """Ratios by key: jobs without a quota, in one of size 1, and held ones.

    Besides the held ones there are as many others as are claimed.
    """
    fills: dict[str, Callable] = {
        "plain": lambda db, count: queues.put_many(db, count, False),
        "quota": lambda db, count: queues.put_many(db, count, False, "one"),
        "held": _put_held,
    }
    figures: dict[str, float] = {}
    for kind, fill in fills.items():
        small, large = _milliseconds(fill, few, many)
        figures[f"claim_scale_100k_{kind}"] = large / small
        figures[f"claim_ms_1k_{kind}"] = small
        figures[f"claim_ms_100k_{kind}"] = large
    worst = max(figures[f"claim_scale_100k_{kind}"] for kind in fills)
    return {"claim_scale_100k": worst, **figures}


def _put_held(db, count: int) -> None:
    queues.put_many(db, count, False, begin_after=clock.now() + timedelta(days=1))


def _milliseconds(fill: Callable, *counts: int) -> list[float]:
    """The median claim for each count, timed in turn: the machine's pace drifts."""
    with ExitStack() as stack:
        claimers = []
        for count in counts:
            server, db = stack.enter_context(database())
            fill(db, count)
            # As a worker that has just begun: with nothing in its caches.
            fresh = open_database(server.address)
            stack.callback(fresh.close)
            claimers.append(Claimer(fresh))
            claimers[-1].settle()
            queues.put_many(db, (CLAIMS + 5) * LIMIT, False)
        rounds = [[claimer.timed() for claimer in claimers] for _ in range(CLAIMS)]
    return [median(times) * 1000 for times in zip(*rounds, strict=True)]


class Claimer:
    """Claims as a dispatcher does, and takes each claimed job as done."""

    def __init__(self, db):
        self.tm = transaction.TransactionManager()
        self.queue = db.open(self.tm).root()[KEY][""]
        agents = self.queue.dispatchers.register(OURS)
        agents["main"] = self.agent = Agent(size=3)
        agents.activate()
        self.tm.commit()

    def settle(self) -> None:
        """Let all that has arrived get to where it waits."""
        before = None
        while before != (unread := sum(map(len, self.queue.intakes.values()))):
            if before is not None and before - unread <= LIMIT:
                # What is left is claimed as it comes, and moved nowhere.
                return
            before = unread
            self.timed()

    def timed(self) -> float:
        """Seconds of one sweep, claim and commit."""
        begun = time.perf_counter()
        self.tm.begin()
        agent, now = self.agent, clock.now_us()
        done = {(*identity(job), n): DONE for job, n, _key in agent.claims.entries}
        sweep(self.queue, agent, done, [], now)
        claim = Claim(self.queue, agent.accepts, LIMIT, now, LIMIT)
        agent.hold([entry for run in claim.take() for entry in run])
        self.tm.commit()
        return time.perf_counter() - begun
