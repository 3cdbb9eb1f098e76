"""What a job asks for: cancel, snooze, retry after."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine.backoff import Backoff
from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.errors import OptionError
from collective.clockwork.engine.errors import RefusedOutcomeError
from collective.clockwork.engine.outcomes import Cancel
from collective.clockwork.engine.outcomes import conclude
from collective.clockwork.engine.outcomes import Outcome
from collective.clockwork.engine.outcomes import Postponement
from collective.clockwork.engine.outcomes import RetryAfter
from collective.clockwork.engine.outcomes import Snooze
from collective.clockwork.engine.retry import NeverRetry
from collective.clockwork.engine.retry import RetryCommonFourTimes
from collective.clockwork.engine.testing import set_now
from collective.clockwork.tests.engine.moments import NOW
from collective.clockwork.tests.engine.optional import job_with
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies

import pickle
import pytest
import transaction


NOW_US = clock.to_us(NOW)
HOUR = timedelta(hours=1)
HOUR_US = HOUR // clock.MICROSECOND
LATER = NOW + HOUR

POSTPONEMENTS = [Snooze, RetryAfter]


@pytest.fixture
def job(queue):
    """A job that is being run."""
    set_now(NOW)
    job = queue.put(job_with())
    transaction.commit()
    job._status = 1
    job._active_start = NOW_US
    return job


@pytest.mark.parametrize("kind", POSTPONEMENTS)
@pytest.mark.parametrize(
    "delay, due",
    [
        (HOUR, NOW_US + HOUR_US),
        (3600, NOW_US + HOUR_US),
        (0.5, NOW_US + 500_000),
        (LATER, NOW_US + HOUR_US),
        (LATER.astimezone(timezone(HOUR)), NOW_US + HOUR_US),
        (NOW - HOUR, None),
        (NOW, None),
        (0, None),
        (timedelta(), None),
    ],
)
def test_a_delay_is_a_span_a_number_of_seconds_or_a_moment(kind, delay, due):
    assert kind(delay).due(NOW_US) == due


@pytest.mark.parametrize("kind", POSTPONEMENTS)
@pytest.mark.parametrize(
    "delay",
    [
        -1,
        -HOUR,
        timedelta.max,
        1e30,
        float("nan"),
        float("inf"),
        True,
        None,
        "3600",
        datetime(2030, 1, 1),
    ],
)
def test_another_delay_is_refused_at_once(kind, delay):
    with pytest.raises(OptionError, match=f"^{kind.__name__} got "):
        kind(delay)


@pytest.mark.parametrize(
    "outcome",
    [Cancel(), Cancel("why"), Snooze(5), Snooze(LATER), RetryAfter(HOUR)],
)
def test_it_can_be_stored_and_raised(outcome):
    read = pickle.loads(pickle.dumps(outcome, 3))
    assert type(read) is type(outcome)
    assert vars(read) == vars(outcome)
    with pytest.raises(Outcome) as caught:
        raise read
    assert str(caught.value) == str(outcome)


def test_it_says_what_it_asks_for():
    assert str(Cancel()) == "be cancelled"
    assert str(Cancel("not needed")) == "be cancelled: not needed"
    assert str(Snooze(90)) == "be run again in 0:01:30"
    assert str(RetryAfter(LATER)) == "be run again at 2030-01-01 01:00:00+00:00"


def test_a_cancelled_job_ends_with_the_reason(job):
    failure = conclude(job, Cancel("not needed"), None, {})
    error = failure.value
    assert isinstance(error, CancelledError)
    assert (error.by, error.reason) == ("the job itself", "not needed")
    assert job._status == 1, "it is the caller who settles it"


def test_a_snooze_counts_as_no_attempt(job):
    attempt = job.attempt
    for number in range(1, 4):
        assert conclude(job, Snooze(HOUR), RetryCommonFourTimes(), {}) is None
        assert (job._tries, job._snoozed) == (0, number)
    assert job.begin_after == LATER
    assert job.attempt == attempt + 3, "what still runs it must not finish it"
    assert job.status == "pending-status"


def test_a_retry_counts_as_an_attempt(job):
    assert conclude(job, RetryAfter(HOUR), RetryCommonFourTimes(), {}) is None
    assert job._tries == 1
    assert job.begin_after == LATER


def test_a_moment_that_has_passed_means_at_once(job):
    assert conclude(job, Snooze(NOW - HOUR), None, {}) is None
    assert not job.is_held(NOW_US)


def test_a_limit_of_the_policy_has_precedence(job):
    policy = Backoff(2)(job)
    data: dict = {}
    assert conclude(job, RetryAfter(HOUR), policy, data) is None
    before = vars(job).copy()
    failure = conclude(job, RetryAfter(HOUR), policy, data)
    assert failure.check(RefusedOutcomeError)
    assert failure.getErrorMessage() == (
        "the job asked to be run again in 1:00:00, but its retry policy allows no "
        "further attempt"
    )
    assert vars(job) == before
    assert conclude(job, Snooze(HOUR), policy, data) is None


class SaysNo(NeverRetry):
    """A policy with an opinion on it."""

    answer: object = False

    def retryAfter(self, delay, data_cache):
        return self.answer


class Fails(NeverRetry):
    """A policy that is broken."""

    def retryAfter(self, delay, data_cache):
        raise RuntimeError("broken")


@pytest.mark.parametrize(
    "policy, expected",
    [
        (None, True),
        (NeverRetry(), True),
        (SaysNo(), False),
        (Fails(), False),
        (RetryCommonFourTimes(), True),
    ],
)
def test_a_policy_without_a_limit_of_attempts_sets_none(job, policy, expected):
    failure = conclude(job, RetryAfter(HOUR), policy, {})
    assert (failure is None) is expected


@pytest.mark.parametrize("kind", POSTPONEMENTS)
def test_what_has_no_queue_cannot_wait(job, kind):
    failure = conclude(job, kind(HOUR), None, {}, can_wait=False)
    assert failure.check(RefusedOutcomeError)
    assert "no place in a queue" in failure.getErrorMessage()
    assert job._status == 1
    assert conclude(job, Cancel(), None, {}, can_wait=False).check(CancelledError)


@settings(deadline=None, database=None)
@given(strategies.floats() | strategies.integers() | strategies.timedeltas())
def test_a_delay_is_refused_or_its_due_time_can_be_stored(delay):
    try:
        outcome = Postponement(delay)
    except OptionError:
        return
    due = outcome.due(NOW_US)
    assert due is None or clock.from_us(due) > NOW
    assert pickle.loads(pickle.dumps(outcome)).delay == outcome.delay
