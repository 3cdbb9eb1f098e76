"""A worker process of the chaos suite, which runs jobs until it is ended.

``python -m chaos.worker PORT UUID THREADS OFFSET PING DEATH``: OFFSET is how many
seconds its clock is off; PING and DEATH are its intervals in seconds, 0 for the
engine's own.
"""

from __future__ import annotations

from chaos.opening import open_database
from chaos.stages import FROZEN_AT
from chaos.stages import reach
from collective.clockwork.engine import clock
from collective.clockwork.engine.dispatcher import Dispatcher
from collective.clockwork.engine.interfaces import IDispatcherActivated
from collective.clockwork.engine.pool import AgentThreadPool
from collective.clockwork.engine.subscribers import AgentInstaller
from datetime import timedelta
from uuid import UUID
from ZEO.ClientStorage import ClientStorage
from zope.component import adapter
from zope.component import provideHandler

import logging
import signal
import sys
import threading


#: Seconds that a call waits for a storage that is away.
PATIENCE = 10


class StagedStorage(ClientStorage):
    """A client that tells at which stage of a commit it is."""

    def tpc_vote(self, txn):
        """As in ClientStorage."""
        who = whose_commit()
        reach(f"{who}-before-vote")
        result = super().tpc_vote(txn)
        reach(f"{who}-after-vote")
        reach(FROZEN_AT)
        return result

    def tpc_finish(self, txn, f=lambda tid: None):
        """As in ClientStorage."""
        who = whose_commit()

        def landed(tid):
            reach(f"{who}-in-finish")
            f(tid)

        tid = super().tpc_finish(txn, landed)
        reach(f"{who}-after-finish")
        return tid


def tell_of_claims() -> None:
    """Let pools tell when a claim has been committed."""
    submit = AgentThreadPool.submit

    def submit_and_tell(self, *args) -> None:
        reach("claimed")
        submit(self, *args)

    AgentThreadPool.submit = submit_and_tell


def whose_commit() -> str:
    """Who commits in this thread."""
    thread = threading.current_thread().name
    return "claim" if thread.startswith("clockwork-dispatcher") else "job"


def set_clock_off(seconds: float) -> None:
    """Let the engine's clock in this process be wrong."""
    right = clock.now
    clock.now = lambda: right() + timedelta(seconds=seconds)
    clock.now_us = lambda: clock.to_us(clock.now())


def set_intervals(ping: float, death: float) -> None:
    """Let dispatchers of this process be taken for dead after ``death`` seconds."""

    @adapter(IDispatcherActivated)
    def quicken(event) -> None:
        event.object.ping_interval = timedelta(seconds=ping)
        event.object.ping_death_interval = timedelta(seconds=death)

    provideHandler(quicken)


def main(port: str, uuid: str, threads: str, offset: str, ping: str, death: str):
    """Run jobs until SIGTERM."""
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    tell_of_claims()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    set_clock_off(float(offset))
    provideHandler(AgentInstaller("main", size=int(threads)))
    options = {}
    if float(death):
        set_intervals(float(ping), float(death))
        options["poll_interval"] = 1
    db = open_database(int(port), PATIENCE, StagedStorage)
    dispatcher = Dispatcher(db, uuid=UUID(uuid), **options)
    dispatcher.activate()
    stop.wait()
    dispatcher.deactivate(5)
    db.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
