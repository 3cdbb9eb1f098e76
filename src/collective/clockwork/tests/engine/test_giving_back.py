"""Jobs that were stored as begun, and go back to the queue all the same."""

from __future__ import annotations

from collective.clockwork.engine.testing import tear_down_dispatcher
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.tests.engine import looping
from collective.clockwork.tests.engine import work

import pytest
import transaction


@pytest.fixture(autouse=True)
def fresh():
    looping.times.clear()


def test_one_that_commits_in_the_middle_is_begun_again_after_a_stop(
    queue, start_dispatcher
):
    first = start_dispatcher()
    job = queue.put(looping.commit_and_pause)
    transaction.commit()
    assert work.gate("committed").wait(20)
    tear_down_dispatcher(first)
    transaction.begin()
    assert list(queue) == [job]
    assert (job._status, job._tries) == (0, 0)
    start_dispatcher()
    assert wait_for_result(job, 20) == 2
