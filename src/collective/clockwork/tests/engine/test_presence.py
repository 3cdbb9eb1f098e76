"""Who is alive, and when its jobs are taken over."""

from __future__ import annotations

from collective.clockwork.engine.commitlock import TIMEOUT
from collective.clockwork.engine.dispatcher import OBSERVE_INTERVAL
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.presence import DispatcherAgents
from collective.clockwork.engine.presence import IDLE_PING_FACTOR
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.dispatching import NEVER
from collective.clockwork.tests.engine.dispatching import wait_for_agents
from collective.clockwork.tests.engine.dispatching import wait_until_begun
from datetime import timedelta
from transaction.interfaces import TransactionError
from uuid import uuid4

import pytest
import transaction


def add_a_silent_one(queue, seconds):
    """One that is activated, and never heard of again."""
    silent = queue.dispatchers.register(uuid4())
    silent.activate()
    silent.ping_interval = timedelta(seconds=seconds / 2)
    silent.ping_death_interval = timedelta(seconds=seconds)
    transaction.commit()
    return silent


def test_the_defaults_fit_together():
    ping = DispatcherAgents.ping_interval.total_seconds()
    death = DispatcherAgents.ping_death_interval.total_seconds()
    # Two signs of life may be late, and a frozen holder of the commit lock may
    # delay all of them.
    assert death >= 3 * ping
    assert death > TIMEOUT
    # The last sign and its age are noticed that late; ten seconds are for the
    # jobs themselves.
    assert death + 2 * OBSERVE_INTERVAL + 5 <= 55
    # Of five idle workers, at 200 bytes each.
    assert 5 * 200 * 86400 / (ping * IDLE_PING_FACTOR) < 1_000_000


def test_an_idle_dispatcher_that_hardly_polls_takes_over(
    db, queue, start_dispatcher, caplog
):
    work.gate("slow")
    job = queue.put(Job(work.pass_gate, "slow"))
    transaction.commit()
    silent = add_a_silent_one(queue, 1)
    start_dispatcher(poll_interval=NEVER)
    wait_until_begun("slow")
    work.gate("slow").set()
    assert wait_for_result(job) == "slow"
    wait_until(lambda: is_deactivated(queue, silent.UUID), "the take-over", 30)
    assert f"dispatcher {silent.UUID} is silent" in caplog.text


def is_deactivated(queue, uuid):
    transaction.begin()
    return queue.dispatchers[uuid].activated is None


def test_a_sign_of_life_that_arrives_before_the_obituary_prevents_it(
    db, queue, elsewhere, start_dispatcher
):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    wait_for_agents(queue, dispatcher)
    dispatcher.deactivate()
    silent = add_a_silent_one(queue, 1)
    connection = elsewhere()
    dispatcher.tm = connection.transaction_manager
    seen = connection.get(silent._p_oid)
    dispatcher.observer.silence = lambda agents: agents.mark() and NEVER
    assert seen.activated
    silent.ping.at += 1
    transaction.commit()
    with pytest.raises(TransactionError):
        dispatcher._observe_one(seen)
    dispatcher.tm.abort()
    dispatcher._observe_one(seen)
    assert is_deactivated(queue, silent.UUID)
    dispatcher.activate()
