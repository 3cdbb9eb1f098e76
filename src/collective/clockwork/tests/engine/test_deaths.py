"""Whom the death of a process is put down to, and who may run beside whom."""

from __future__ import annotations

from collective.clockwork.engine import deaths
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.deaths import Death
from collective.clockwork.engine.deaths import death_of
from collective.clockwork.engine.deaths import Evidence
from collective.clockwork.engine.deaths import interrupt
from collective.clockwork.engine.deaths import may_begin
from collective.clockwork.engine.deaths import seconds_alone
from collective.clockwork.engine.deaths import unfinished
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.presence import DispatcherAgents
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.retry import NeverRetry
from collective.clockwork.engine.retry import RetryCommonFourTimes
from collective.clockwork.engine.supervisor import Note
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.sickwork import Threefold
from datetime import datetime
from datetime import timezone
from types import SimpleNamespace
from uuid import uuid4

import pytest
import transaction


DEATH = Death(1, "a worker", alone=True)
AMONG_OTHERS = Death(1, "a worker", alone=False)


class Fails(Threefold):
    quarantine = False


class Old:
    """A policy of an application; knows interruptions only."""

    def __init__(self, job):
        self.count = 0

    def interrupted(self):
        self.count += 1
        return self.count < 3


def begin(job):
    job._begun_attempt = job.attempt
    job._begun_thread = "thread 1"


# Whom a death is put down to


def test_a_death_counts_against_the_only_job(agent, claimed):
    job = claimed()
    begin(job)
    attempt = job.attempt
    assert interrupt(agent, job, DEATH) is False
    assert job.attempt == attempt + 1
    assert job._suspect == 1
    assert job.getRetryPolicy().data == {"interruptions": 1}
    assert [death.alone for death in job.deaths] == [True]
    assert job.deaths[0].thread == "thread 1"
    assert job._deaths.count == 1


def test_a_death_among_others_counts_for_nothing_and_is_noted(agent, claimed):
    job = claimed()
    for number in range(deaths.UNEXPLAINED):
        assert job._suspect == number
        begin(job)
        assert interrupt(agent, job, AMONG_OTHERS) is False
    policy = job.getRetryPolicy()
    assert policy.data == {
        "interruptions": deaths.UNEXPLAINED,
        "disturbances": deaths.UNEXPLAINED,
    }
    assert len(job.deaths) == deaths.UNEXPLAINED
    assert job._deaths.count == 0
    assert not job._aborting


def test_one_that_is_never_alone_is_blamed_in_the_end(agent, claimed):
    job = claimed()
    outcomes = []
    for _ in range(deaths.UNEXPLAINED + 4):
        begin(job)
        outcomes.append(interrupt(agent, job, AMONG_OTHERS))
    assert outcomes == [False] * (deaths.UNEXPLAINED + 3) + [True]
    assert job._suspect == deaths.UNEXPLAINED


def test_one_that_may_not_have_begun_is_only_suspected_and_only_once(agent, claimed):
    job = claimed()
    for number in range(3):
        assert interrupt(agent, job, DEATH) is False
        assert job.attempt == number + 1
        assert job._suspect == 1
    assert job.deaths == ()
    assert job._retry_policy is None


def test_a_stop_in_order_raises_no_suspicion(agent, claimed):
    waiting, running = claimed(), claimed()
    begin(running)
    for job in (waiting, running):
        assert interrupt(agent, job, None) is False
        assert job._suspect == 0
        assert job.deaths == ()
        assert job.attempt == 1
    assert waiting._retry_policy is None
    assert running.getRetryPolicy().data == {"interruptions": 1, "disturbances": 1}


def test_long_jobs_outlive_any_number_of_stops_in_order(agent, claimed):
    job = claimed()
    for _ in range(50):
        begin(job)
        assert interrupt(agent, job, None) is False
    assert not job._aborting


@pytest.mark.parametrize("death", [None, AMONG_OTHERS, DEATH])
def test_never_retry_does_so_whoever_is_to_blame(agent, claimed, death):
    job = claimed(policy=NeverRetry)
    begin(job)
    assert interrupt(agent, job, death) is False
    assert job._aborting


def test_a_policy_that_knows_interruptions_only_is_asked_about_all(agent, claimed):
    job = claimed(policy=Old)
    for death in (None, AMONG_OTHERS):
        begin(job)
        assert interrupt(agent, job, death) is False
        assert not job._aborting
    begin(job)
    assert interrupt(agent, job, AMONG_OTHERS) is False
    assert job._aborting


def test_beyond_its_limit_a_job_is_set_aside_or_failed(agent, claimed):
    for policy, outcome in ((Threefold, True), (Fails, False)):
        job = claimed(policy=policy)
        for _ in range(3):
            begin(job)
            assert interrupt(agent, job, DEATH) is False
            assert not job._aborting
        begin(job)
        assert interrupt(agent, job, DEATH) is outcome
        assert job._aborting is not outcome


def test_nine_deaths_are_allowed_by_default_as_in_zc_async(agent, claimed):
    job = claimed(policy=RetryCommonFourTimes)
    outcomes = []
    for _ in range(10):
        begin(job)
        outcomes.append(interrupt(agent, job, DEATH))
    assert outcomes == [False] * 9 + [True]


def test_a_suspect_from_before_there_was_a_quarantine(agent, claimed):
    job = claimed()
    job._suspect = True
    begin(job)
    assert interrupt(agent, job, AMONG_OTHERS) is False
    assert job._suspect == 2


def test_the_evidence_is_bounded():
    evidence = Evidence()
    for number in range(100):
        evidence.add(Death(number, "a worker"))
    assert [death.at_us for death in evidence.deaths] == list(range(90, 100))


# What a process had


def test_only_unfinished_jobs_count(agents, agent, claimed):
    done, moved, mine = claimed(), claimed(), claimed()
    done._status = 3
    moved.attempt += 1
    assert unfinished(agents) == 1
    assert death_of(agents).alone
    mine._status = 2
    assert unfinished(agents) == 1
    mine._status = 3
    assert unfinished(agents) == 0
    assert not death_of(agents).alone


def test_all_queues_of_a_process_count_in_whatever_order(root, queue, agents, claimed):
    other = root[KEY]["other"] = Queue()
    there = other.dispatchers.register(agents.UUID)
    there["main"] = Agent()
    there.activate("boot")
    there_job = other.put(work.nothing)
    transaction.commit()
    assert there["main"].claimJob() is there_job
    job = claimed()
    assert not death_of(agents).alone
    assert not death_of(there).alone
    # The one has been taken care of, and works again.
    there.deactivate()
    there.activate("next boot")
    transaction.commit()
    assert not death_of(agents).alone
    # That death was another one.
    agents.boot = "next boot but one"
    assert death_of(agents).alone
    assert job._status == 0


def test_a_note_of_the_supervisor_is_matched_by_host_and_process(agents):
    agents.process = ("here", 7)
    note = Note(5, "here", 7, None, "SIGSEGV", 1000, ("last",))
    others = [
        SimpleNamespace(host="there", pid=7),
        SimpleNamespace(host="here", pid=8),
    ]
    death = death_of(agents, [*others, note])
    assert (death.host, death.pid, death.at_us) == ("here", 7, 5)
    assert (death.signal, death.exit_code) == ("SIGSEGV", None)
    assert (death.peak_rss, death.lines) == (1000, ("last",))
    assert death.worker == str(agents.UUID)
    assert death.cause == "SIGSEGV"
    assert death_of(agents, others).cause is None


def test_a_process_from_before_there_was_a_quarantine_has_no_name(agents):
    agents.process = (None, None)
    death = death_of(agents, [SimpleNamespace(host=None, pid=None)])
    assert (death.host, death.pid, death.signal) == (None, None, None)


@pytest.mark.parametrize(
    "code, signal, cause", [(3, None, "exit code 3"), (None, "SIGKILL", "SIGKILL")]
)
def test_the_cause_in_words(code, signal, cause):
    death = Death(1_000_000, "a worker", exit_code=code, signal=signal)
    assert death.cause == cause
    assert death.when == datetime(1970, 1, 1, 0, 0, 1, tzinfo=timezone.utc)


# Alone


def suspect(level):
    return SimpleNamespace(_suspect=level)


def test_the_time_alone_grows_and_has_an_end():
    assert [seconds_alone(suspect(level)) for level in range(4)] == [0, 10, 80, 640]
    assert seconds_alone(suspect(True)) == 10
    assert seconds_alone(suspect(100)) == seconds_alone(suspect(deaths.UNEXPLAINED))


@pytest.mark.parametrize(
    "level, waiting, ages, allowed",
    [
        (0, 5, [0.1], True),
        (1, 0, [], True),
        (1, 0, [10.0, 300.0], True),
        (1, 0, [300.0, 9.9], False),
        (1, 1, [], False),
        (2, 0, [], True),
        (2, 0, [300.0], False),
        (2, 1, [], False),
    ],
)
def test_beside_what_a_suspect_may_begin(level, waiting, ages, allowed):
    assert may_begin(suspect(level), waiting, ages) is allowed


def test_agents_of_before_have_what_a_death_needs():
    agents = DispatcherAgents(uuid4())
    assert (agents.process, agents.left) == ((None, None), (None, 0))
