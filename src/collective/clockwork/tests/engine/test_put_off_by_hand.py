"""A job that is called by hand, and is in no queue, cannot be put off."""

from __future__ import annotations

from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.interfaces import UnresolvableError
from collective.clockwork.engine.job import Job
from collective.clockwork.tests.engine import work

import pytest


class Later(work.Decides):
    """Has it tried again in a moment."""

    decision = work.ONE_SECOND


@pytest.mark.parametrize("factory", [Later, work.InAnHour, work.InYear3000])
def test_it_fails_when_its_policy_wants_to_wait(store, factory):
    job = store(Job(work.boom, "at once"))
    job.retry_policy_factory = factory
    failure = job()
    assert failure.check(ValueError)
    assert failure.getErrorMessage() == "at once"
    assert job.status == COMPLETED
    assert job._tries == 0


def test_it_fails_when_its_commit_did(store):
    veto = work.Veto()
    job = store(Job(work.return_failure_and_veto, veto))
    job.retry_policy_factory = work.InAnHour
    assert job().check(RuntimeError)
    assert job.status == COMPLETED


def test_it_fails_when_its_function_is_missing(store, monkeypatch):
    job = store(Job(work.answer))
    monkeypatch.delattr(work, "answer")
    failure = job()
    assert failure.check(UnresolvableError)
    assert job.status == COMPLETED


def test_its_callbacks_get_the_failure(store):
    job = Job(work.boom, "at once")
    callback = job.addCallback(work.swallow)
    store(job)
    job.retry_policy_factory = work.InAnHour
    job()
    assert callback.result == 1
