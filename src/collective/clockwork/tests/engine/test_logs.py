"""What is written to the logs about polls and jobs."""

from __future__ import annotations

from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.pool import AgentThreadPool
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.dispatching import NEVER
from collective.clockwork.tests.engine.dispatching import wait_for_agents

import logging
import pytest
import transaction


EVENTS = "collective.clockwork.engine.events"
TRACE = "collective.clockwork.engine.trace"


@pytest.fixture
def said(caplog):
    """All records of a logger, as pairs of level and text."""
    caplog.set_level(logging.DEBUG, "collective.clockwork.engine")

    def records(name):
        return [(r.levelno, r.getMessage()) for r in caplog.records if r.name == name]

    return records


def test_a_queue_that_comes_later_is_in_both_logs(root, queue, start_dispatcher, said):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    wait_for_agents(queue, dispatcher)
    root[KEY]["later"] = Queue()
    transaction.commit()
    root[KEY]["later"].put(work.answer)
    transaction.commit()

    def claim_in_it():
        for level, text in said(TRACE):
            if text.startswith("poll ") and "'new jobs': [(" in text:
                return level, text
        return None

    level, text = wait_until(claim_in_it, "a poll that is traced")
    assert level == logging.DEBUG
    assert "'later': {'main': {'size': 3, " in text
    assert (logging.INFO, "agent 'main' added to queue 'later'") in said(EVENTS)


def test_a_poll_that_is_like_the_one_before_is_not_traced(
    queue, start_dispatcher, said
):
    dispatcher = start_dispatcher(poll_interval=0.01)
    wait_for_agents(queue, dispatcher)
    wait_until(lambda: len(dispatcher.polls) > 5, "six polls")
    texts = [text.partition(": ")[2] for _level, text in said(TRACE)]
    assert 1 <= len(texts) == len(set(texts))


def test_a_job_that_ends_well_leaves_three_records_in_order(db, queue, said):
    job = queue.put(work.answer)
    transaction.commit()
    drain(db)
    assert said(TRACE) == [
        (logging.INFO, f"{job!r} starting in MainThread"),
        (logging.INFO, f"{job!r} succeeded with result: 42"),
        (logging.INFO, f"{job!r} completed in MainThread"),
    ]


def secretive(number):
    password = f"sword{number}fish"
    raise LookupError(f"{len(password)} characters")


@pytest.mark.parametrize("level", [None, logging.WARNING])
def test_a_failure_is_told_once_with_its_traceback_at_the_level_of_its_job(
    db, queue, said, level
):
    job = queue.put(Job(secretive, 1), failure_log_level=level)
    transaction.commit()
    drain(db)
    about = [r for r in said(EVENTS) if "characters" in r[1]]
    assert [r[0] for r in about] == [level or logging.ERROR]
    text = about[0][1]
    assert text.startswith(f"{job!r} failed:\nTraceback")
    assert "in secretive" in text
    assert text.rstrip().endswith("LookupError: 10 characters")
    # In zc.async the values of variables were in the log, passwords too.
    assert "sword1fish" not in text
    assert not [r for r in said(TRACE) if "succeeded" in r[1]]


def test_a_job_that_ended_behind_its_claim_is_reported_and_holds_up_nobody(
    db, queue, said, monkeypatch
):
    spoilt, later = queue.put(work.answer), queue.put(work.answer)
    transaction.commit()
    run_job = AgentThreadPool._run_job

    def fail_first(self, connection, ticket):
        if ticket.oid == spoilt._p_oid:
            work.elsewhere(spoilt, lambda job: job.fail(ValueError("by hand")))
        return run_job(self, connection, ticket)

    monkeypatch.setattr(AgentThreadPool, "_run_job", fail_first)
    drain(db)
    transaction.begin()
    assert later.result == 42
    assert spoilt.result.check(ValueError)
    agent = later.agent
    assert list(agent) == []
    assert set(agent.completed) == {spoilt, later}
    errors = [text for level, text in said(EVENTS) if level == logging.ERROR]
    assert f"{spoilt!r} was reassigned, or completed already" in errors
