"""What jobs say that have ended."""

from __future__ import annotations

from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.errors import JobTimeoutError
from collective.clockwork.engine.errors import QuarantinedError
from collective.clockwork.engine.explain import explain
from collective.clockwork.engine.failure import Failure
from collective.clockwork.engine.interfaces import AbortedError
from collective.clockwork.engine.interfaces import TimeoutError
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.explaining import check
from collective.clockwork.tests.engine.moments import NOW

import pytest
import transaction


pytestmark = pytest.mark.usefixtures("frozen")


def test_a_job_in_its_callbacks(put):
    job = put()
    job.addCallback(work.mirror)
    job._active_start = 1
    job.settle(42)
    transaction.commit()
    text = (
        "Its own work is done since 2030-01-01 00:00:00 UTC, its callbacks are being "
        "run."
    )
    check(job, "callbacks", text, at=NOW)


ENDS = [
    (42, "succeeded", "It was completed at {at}.", {}),
    (None, "succeeded", "It was completed at {at}.", {}),
    (
        ValueError("boom."),
        "failed",
        "It failed at {at}: ValueError: boom.",
        {"error": "ValueError: boom."},
    ),
    (
        CancelledError("jane", "not needed"),
        "cancelled",
        "It was cancelled at {at} by jane: not needed.",
        {"by": "jane", "reason": "not needed"},
    ),
    (
        CancelledError(),
        "cancelled",
        "It was cancelled at {at} by somebody: no reason was given.",
        {"by": None, "reason": None},
    ),
    (TimeoutError(), "expired", "It was not begun in time, and ended at {at}.", {}),
    (
        JobTimeoutError(1.5),
        "timed-out",
        "It ran longer than 1.5 s, and was ended at {at}.",
        {"seconds": 1.5},
    ),
    (
        AbortedError(),
        "aborted",
        "Its process ended or lost it too often; it was ended at {at}.",
        {},
    ),
    (
        QuarantinedError(3),
        "discarded",
        "It was set aside after 3 deaths of its process, and discarded at {at}.",
        {"deaths": 3},
    ),
]


@pytest.mark.parametrize("result, code, text, values", ENDS)
def test_a_job_that_has_ended(put, result, code, text, values):
    job = put()
    job.settle(Failure(result) if isinstance(result, Exception) else result)
    transaction.commit()
    text = text.format(at="2030-01-01 00:00:00 UTC")
    check(job, code, text, at=NOW, **values)


@pytest.mark.parametrize("kind", [CancelledError, JobTimeoutError, QuarantinedError])
def test_of_an_error_that_cannot_be_read_back_the_text_is_enough(put, kind):
    job = put()
    job.settle(Failure(kind("x")))
    transaction.commit()
    job._result._live = job._result._pickle = None
    reason = explain(job)
    assert reason.code in ("cancelled", "timed-out", "discarded")
    assert set(reason.values.values()) == {NOW, None}
