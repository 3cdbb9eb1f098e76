"""What a job's function knows and can do while it runs."""

from __future__ import annotations

from collective.clockwork.engine import context
from collective.clockwork.engine import local
from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.retry import NeverRetry
from collective.clockwork.engine.testing import drain
from collective.clockwork.tests.engine import looping

import functools
import pytest
import transaction


pytestmark = pytest.mark.usefixtures("no_visits")


# Getting it


def plain():
    """Has no context."""


def asks(a, *, ctx):
    return a, ctx


def asks_by_position(ctx):
    return ctx


class Asks:
    def method(self, *, ctx):
        return ctx

    def __call__(self, *, ctx):
        return ctx


@functools.wraps(asks)
def wrapped(*args, **kwargs):
    return asks(*args, **kwargs)


@pytest.mark.parametrize(
    "call, wanted",
    [
        (asks, True),
        (wrapped, True),
        (functools.partial(asks, 1), True),
        (Asks().method, True),
        (Asks(), True),
        (plain, False),
        (asks_by_position, False),
        (len, False),
        (dict, False),
        (Asks, False),
        (object(), False),
    ],
)
def test_who_asks_for_the_context_gets_it(call, wanted):
    assert context.wanted_by(call) is wanted


def test_an_argument_of_that_name_is_left_alone():
    given = {"ctx": 1}
    assert context.with_context(asks, given) is given
    assert context.with_context(plain, {}) == {}


def test_outside_of_a_job_there_is_none():
    with pytest.raises(RuntimeError, match="no job in this thread"):
        context.current()


def test_what_it_knows(perform):
    job = perform(looping.about_itself)
    is_job, is_current, attempt, key, cancelled = job.result
    assert is_job and is_current
    assert attempt == 1
    assert key.startswith("unnamed-")
    assert cancelled is False
    assert local.run is None


def test_two_jobs_have_different_keys(perform):
    assert len({perform(looping.about_itself).result[3] for _ in range(3)}) == 3


def test_attempts_are_counted_and_have_one_key(db, queue):
    job = queue.put(looping.about_attempts, retry_policy_factory=looping.Later)
    transaction.commit()
    for _ in range(3):
        drain(db)
    assert [attempt for attempt, _key in looping.visits] == [1, 2, 3]
    assert len({key for _attempt, key in looping.visits}) == 1
    transaction.begin()
    assert job.result is None


def test_a_function_without_the_parameter_asks_for_it(perform):
    assert perform(looping.without_context).result == 1


def test_a_checkpoint_raises_a_cancel(perform):
    failure = perform(looping.checkpoints, policy=NeverRetry).result
    assert failure.check(CancelledError)
    assert failure.getErrorMessage() == "cancelled by bert"
