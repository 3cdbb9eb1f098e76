"""The typed errors: they say what happened, and survive being stored."""

from __future__ import annotations

from collective.clockwork.engine import errors
from collective.clockwork.engine.failure import Failure
from collective.clockwork.tests.engine.optional import job_with

import pickle
import pytest
import transaction


ERRORS = [
    (errors.OptionError("priority is 101"), "priority is 101"),
    (errors.DuplicateJobError("k"), "a job with the unique key 'k' already"),
    (errors.DuplicateJobError("k", "it runs"), "^it runs$"),
    (errors.CancelledError(), "^cancelled$"),
    (errors.CancelledError("jane"), "^cancelled by jane$"),
    (errors.CancelledError("jane", "too late"), "^cancelled by jane: too late$"),
    (errors.CancelledError(reason="too late"), "^cancelled: too late$"),
    (errors.JobTimeoutError(1.5), "longer than its timeout of 1.5 s"),
    (errors.QuarantinedError(3), "died 3 times"),
    (errors.RefusedOutcomeError("wait", "why"), "asked to wait, but why"),
]


def test_all_errors_are_tested_and_documented():
    made = {type(error) for error, _text in ERRORS}
    defined = {value for value in vars(errors).values() if isinstance(value, type)}
    assert defined == made
    assert all(kind.__doc__ for kind in defined)


@pytest.mark.parametrize("error, text", ERRORS)
def test_it_says_what_happened_also_after_pickling(error, text):
    for read in (error, pickle.loads(pickle.dumps(error, 3))):
        assert type(read) is type(error)
        assert vars(read) == vars(error)
        with pytest.raises(type(error), match=text):
            raise read


@pytest.mark.parametrize("error, text", ERRORS)
def test_it_comes_back_from_a_stored_failure(root, elsewhere, error, text):
    root["failure"] = Failure(error)
    transaction.commit()
    read = elsewhere().root()["failure"]
    assert read.check(type(error))
    assert vars(read.value) == vars(error)
    assert str(read.value) == read.getErrorMessage() == str(error)


def test_the_other_job_is_not_stored_with_the_error(queue, root, elsewhere):
    other = queue.put(job_with(unique="k"))
    error = errors.DuplicateJobError("k", "it waits", other)
    assert error.job is other
    root["failure"] = Failure(error)
    transaction.commit()
    read = elsewhere().root()["failure"].value
    assert (read.key, read.text, read.job) == ("k", "it waits", None)


@pytest.mark.parametrize("error, _text", ERRORS)
def test_what_was_refused_is_a_value_error_what_a_job_ended_with_is_not(error, _text):
    refused = (errors.OptionError, errors.DuplicateJobError)
    assert isinstance(error, ValueError) == isinstance(error, refused)
