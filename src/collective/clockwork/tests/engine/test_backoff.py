"""Backoff: waits grow, stay within their bounds, and are told apart by chance."""

from __future__ import annotations

from collective.clockwork.engine.backoff import Backoff
from collective.clockwork.engine.backoff import BackoffPolicy
from collective.clockwork.engine.commit import ClientDisconnected
from collective.clockwork.engine.errors import OptionError
from collective.clockwork.engine.failure import Failure
from collective.clockwork.engine.failure import isFailure
from collective.clockwork.engine.interfaces import IRetryPolicy
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import set_now
from collective.clockwork.engine.threadlocal import local
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.moments import NOW
from collective.clockwork.tests.engine.trouble import Waits
from datetime import timedelta
from hypothesis import assume
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
from ZODB.POSException import ConflictError
from zope.interface.verify import verifyObject

import pickle
import pytest
import transaction


SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)

durations = strategies.timedeltas(
    min_value=timedelta(microseconds=1), max_value=timedelta(days=36_500)
)
backoffs = strategies.builds(
    lambda tries, two, factor, jitter: Backoff(
        tries, min(two), factor, max(two), jitter
    ),
    strategies.none() | strategies.integers(1, 10**6),
    strategies.tuples(durations, durations),
    strategies.floats(1, 1e300),
    strategies.floats(0, 1),
)
counts = strategies.integers(1, 10**6)
property_test = settings(deadline=None, database=None)


def error(kind=ValueError) -> Failure:
    return Failure(kind("boom"))


@property_test
@given(backoffs, counts)
def test_a_wait_stays_within_its_bounds(backoff, count):
    wait = backoff.wait(count)
    assert timedelta() <= wait <= backoff.longest
    assert wait >= backoff.first * (1 - backoff.jitter) / 2 - SECOND / 1_000_000


@property_test
@given(backoffs, counts, counts)
def test_without_chance_waits_only_grow(backoff, one, two):
    steady = Backoff(None, backoff.first, backoff.factor, backoff.longest, 0)
    assert steady.wait(min(one, two)) <= steady.wait(max(one, two))
    assert steady.wait(1) == pytest.approx(backoff.first, abs=2 * SECOND / 1_000_000)


@property_test
@given(strategies.floats(1.1, 10), strategies.integers(1, 12), strategies.floats(0, 1))
def test_a_wait_grows_by_its_factor_within_its_jitter(factor, count, jitter):
    backoff = Backoff(None, SECOND, factor, timedelta(days=36_500), jitter)
    expected = factor ** (count - 1)
    assume(expected < backoff.longest.total_seconds() / 2)
    wait = backoff.wait(count).total_seconds()
    assert expected * (1 - jitter) - 1e-5 <= wait <= expected * (1 + jitter) + 1e-5


def test_the_waits_of_the_default():
    steady = Backoff(jitter=0)
    seconds = [round(steady.wait(n).total_seconds()) for n in range(1, 12)]
    assert seconds == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]


@pytest.mark.parametrize("count", [1, 50])
def test_waits_of_jobs_that_failed_together_are_spread(count):
    waits = {Backoff().wait(count) for _ in range(200)}
    middle = 10 if count == 1 else 3600 / 1.25
    assert len(waits) > 150
    assert min(waits) < timedelta(seconds=middle * 0.85)
    assert max(waits) > timedelta(seconds=middle * 1.15)
    assert len(waits & {Backoff().longest}) <= 1, "they do not meet at the longest"


@pytest.mark.parametrize(
    "wrong",
    [
        {"tries": 0},
        {"tries": 1.5},
        {"tries": True},
        {"first": timedelta()},
        {"first": 10},
        {"first": -SECOND},
        {"first": 2 * HOUR},
        {"longest": timedelta.max},
        {"factor": 0.5},
        {"factor": "2"},
        {"factor": float("nan")},
        {"factor": float("inf")},
        {"jitter": -0.1},
        {"jitter": 1.1},
        {"jitter": None},
        {"give_up_on": 5},
        {"give_up_on": (int,)},
        {"give_up_on": ("",)},
    ],
)
def test_what_makes_no_sense_is_refused_and_named(wrong):
    (name,) = wrong
    with pytest.raises(OptionError, match=f"^{name} "):
        Backoff(**wrong)


@pytest.mark.parametrize(
    "backoff",
    [
        Backoff(),
        Backoff(3),
        Backoff(None, SECOND, 3.0, 2 * SECOND, 0.5, (ValueError, "a.B")),
        Backoff(jitter=0),
    ],
)
def test_it_can_be_stored_and_is_the_same(backoff):
    assert pickle.loads(pickle.dumps(backoff, 3)) == backoff


def test_the_default_takes_few_bytes_in_each_job():
    assert len(pickle.dumps(Backoff(), 3)) < 75


def test_a_subclass_stays_one():
    assert type(pickle.loads(pickle.dumps(Patient(), 3))) is Patient


class Patient(Backoff):
    """A back-off with a name of its own."""


# The policy


def test_it_makes_policies_that_count_for_themselves():
    backoff = Backoff(2)
    one, two = backoff(None), backoff(None)
    assert verifyObject(IRetryPolicy, one)
    assert one.jobError(error(), {}) and two.jobError(error(), {})


@pytest.mark.parametrize("question", ["jobError", "commitError"])
def test_a_job_is_begun_as_often_as_it_may_be(question):
    policy = Backoff(4, jitter=0)(None)
    answers = []
    for _attempt in range(4):
        data: dict = {}
        answers.append(getattr(policy, question)(error(), data))
        policy.updateData(data)
    assert [each and round(each / SECOND) for each in answers] == [10, 20, 40, False]
    assert policy.data["last_error"] == "boom"


def test_without_a_limit_it_never_gives_up():
    policy = Backoff(None)(None)
    data: dict = {}
    assert all(policy.jobError(error(), data) for _ in range(5_000))


@pytest.mark.parametrize(
    "kind", [KeyError, LookupError, "KeyError", "builtins.nothing"]
)
def test_it_gives_up_at_once_on_what_it_is_told(kind):
    policy = Backoff(give_up_on=kind)(None)
    expected = kind == "builtins.nothing"
    assert bool(policy.jobError(error(KeyError), {})) is expected
    assert policy.jobError(error(ValueError), {})


def test_a_wait_that_the_job_asked_for_takes_a_try():
    policy = Backoff(3)(None)
    data: dict = {}
    assert policy.retryAfter(HOUR, data) == HOUR
    assert policy.jobError(error(), data)
    assert policy.retryAfter(HOUR, data) is False


@pytest.mark.parametrize("question", ["jobError", "commitError"])
def test_conflicts_are_counted_apart(question):
    policy = Backoff(2)(None)
    data: dict = {}
    conflict = Failure(ConflictError("again"))
    assert [getattr(policy, question)(conflict, data) for _ in range(4)] == [True] * 4
    assert getattr(policy, question)(error(), data)
    assert getattr(policy, question)(conflict, data) is False


def test_a_storage_that_is_away_is_waited_for(monkeypatch):
    waits = Waits()
    monkeypatch.setattr(local, "stopping", waits)
    policy = Backoff(1)(None)
    data: dict = {}
    away = Failure(ClientDisconnected("away"))
    assert [policy.jobError(away, data) for _ in range(3)] == [True] * 3
    assert waits == [5, 10, 15]
    assert "errors" not in data


def test_interruptions_are_those_of_the_common_policy():
    policy = Backoff(1)(None)
    assert [policy.interrupted() for _ in range(10)] == [True] * 9 + [False]


def test_a_job_is_run_again_and_again_until_it_works(db, queue):
    set_now(NOW)
    job = Job(work.flaky, "backoff", 3, ValueError)
    queue.put(job, retry_policy_factory=Backoff(jitter=0))
    transaction.commit()
    waited = []
    while drain(db):
        transaction.begin()
        if job.status == "completed-status":
            break
        waited.append(round((job.begin_after - NOW) / SECOND))
        set_now(job.begin_after - SECOND)
        assert drain(db) == 0
        set_now(job.begin_after)
    assert waited == [10, 30, 70]
    assert job.result == 4
    assert type(job._retry_policy) is BackoffPolicy


def test_a_job_fails_when_its_tries_are_used_up(db, queue):
    set_now(NOW)
    job = queue.put(Job(work.boom, "always"), retry_policy_factory=Backoff(2))
    transaction.commit()
    assert drain(db) == 1
    set_now(NOW + HOUR)
    assert drain(db) == 1
    transaction.begin()
    assert isFailure(job.result)
    assert job.result.getErrorMessage() == "always"
