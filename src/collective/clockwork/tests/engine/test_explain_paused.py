"""What jobs say that wait for a paused agent, and for something else besides."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.explain import explain
from collective.clockwork.engine.testing import set_now
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.explaining import check
from collective.clockwork.tests.engine.moments import NOW
from datetime import timedelta

import pytest
import transaction


HOUR = timedelta(hours=1)

pytestmark = pytest.mark.usefixtures("frozen")


@pytest.fixture
def late(agents, put):
    """A job whose ``begin_by`` has passed, with a worker that is alive."""
    job = put(work.answer, begin_by=HOUR)
    set_now(NOW + 2 * HOUR)
    agents.ping.at = clock.now_us()
    transaction.commit()
    assert explain(job).code == "late"
    return job


def refuse(job):
    return False


def pause(agent) -> None:
    agent.pause("jane", "we move house.")
    transaction.commit()


def check_paused(job, since) -> None:
    text = (
        "The agent main, which would take it, is paused by jane since "
        f"{since:%Y-%m-%d %H:%M:%S} UTC: we move house."
    )
    values = {"by": "jane", "since": since, "reason": "we move house."}
    check(job, "agent-paused", text, agent="main", **values)


def test_the_pause_comes_before_a_moment_that_has_passed(agent, late):
    pause(agent)
    check_paused(late, NOW + 2 * HOUR)


def test_any_agent_that_is_not_paused_ends_what_is_late(agents, agent, late):
    pause(agent)
    agents["other"] = Agent(filter=refuse)
    assert explain(late).code == "late"


def test_an_agent_without_places_ends_nothing(agent, late):
    agent.size = 0
    assert explain(late).code == "no-agent"


def test_the_pause_comes_before_a_full_quota(agent, queue, put):
    queue.quotas.create("full")
    put(work.answer, quotas=("full",))
    assert agent.claimJob() is not None
    job = put(work.answer, quotas=("full",))
    assert explain(job).code == "quota"
    pause(agent)
    check_paused(job, NOW)
