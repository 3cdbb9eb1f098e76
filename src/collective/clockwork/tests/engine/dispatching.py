"""What the tests of dispatchers with threads share."""

from __future__ import annotations

from collections import deque
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import work

import transaction


#: Seconds; longer than any test waits, so nothing happens because of a poll.
NEVER = 3600


def agents_of(queue, dispatcher):
    transaction.begin()
    return queue.dispatchers.get(dispatcher.UUID)


def wait_for_agents(queue, dispatcher):
    return wait_until(lambda: agents_of(queue, dispatcher), "registration")


def wait_until_begun(name):
    assert work.gate(f"{name} begun").wait(6), f"{name} did not begin"


def join(dispatcher_threads):
    for thread in dispatcher_threads:
        thread.join(6)
        assert not thread.is_alive()


def pool_of(dispatcher, key=("", "main")):
    return wait_until(lambda: dispatcher.stations.get(key), "a station").pool


def keep_from_threads(pool) -> list:
    """Let no thread hear of what is claimed from now on, until ``pool.submit`` is gone.

    Returns a list to which the oids of those jobs are added.
    """
    kept = []

    def submit(runs, more=True):
        kept.extend(ticket.oid for run in runs for ticket in run)
        with pool._changed:
            pool._tails.extend(map(deque, runs))

    pool.submit = submit
    # Elsewhere such jobs stand behind one that runs, and the dispatcher of a pool at
    # work looks by itself. This one would sleep: nothing runs.
    pool.dispatcher.poll_interval = 0.1
    return kept
