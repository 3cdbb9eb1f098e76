"""What the tests of cancelling share."""

from __future__ import annotations

from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.explain import explain
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine.stopping import PATIENCE

import transaction


def cancel(job, by="jane", reason="not needed") -> str:
    transaction.begin()
    said = job.cancel(by, reason)
    transaction.commit()
    return said


def assert_cancelled(job, by="jane", reason="not needed"):
    result = wait_for_result(job, PATIENCE)
    assert result.check(CancelledError)
    assert (result.value.by, result.value.reason) == (by, reason)
    assert explain(job).code == "cancelled"
    assert explain(job).values["by"] == by


def is_tidy(queue) -> bool:
    transaction.begin()
    left = [tree for tree in (queue.cancels, queue.withdrawn) if tree is not None]
    return all(list(tree) == [("", b"")] for tree in left)


def assert_tidy(queue):
    """Nothing is left of cancels, and nothing of jobs that were withdrawn."""

    def is_empty() -> bool:
        tidy = is_tidy(queue)
        agents = [a for each in queue.dispatchers.values() for a in each.values()]
        running = [quota.running for quota in queue.quotas.values()]
        places = [queue, queue.waiting, queue.deadlines, *running, *agents]
        return tidy and not any(map(len, places))

    wait_until(is_empty, "tidying", PATIENCE)
