"""Jobs that are wanted at one key, as when many are due at one moment."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine.claims import Claim
from collective.clockwork.engine.claims import MOVED_AT_ONCE
from collective.clockwork.engine.lanes import Lane
from collective.clockwork.tests.engine import work
from datetime import timedelta

import transaction


class CountingTree(dict):
    """Stands in for a lane's tree, and counts the tries to put something in."""

    tries = 0

    def insert(self, key, value):
        self.tries += 1
        if key in self:
            return 0
        self[key] = value
        return 1

    def maxKey(self):
        return max(self)


def test_many_jobs_at_one_key_keep_their_order_and_cost_one_try_each():
    lane = Lane()
    lane.jobs = tree = CountingTree()
    for number in range(500):
        lane.add(1 << 50, number)
    assert [tree[key] for key in sorted(tree)] == list(range(500))
    assert tree.tries <= 501


def test_a_key_that_was_crowded_once_is_used_again_when_it_is_free():
    lane = Lane()
    for number in range(3):
        lane.add(100, number)
    for key in list(lane.jobs):
        lane.remove(key)
    lane.add(100, "next")
    assert list(lane.jobs.items()) == [(100, "next")]


def test_one_claim_moves_a_bounded_number_of_held_jobs(queue):
    due = clock.now() + timedelta(days=1)
    for _ in range(MOVED_AT_ONCE + 5):
        queue.put(work.nothing, begin_after=due)
    transaction.commit()
    claim = Claim(queue, lambda job: True, 1, clock.now_us())
    assert claim.take() == []
    assert claim.more
    assert queue.schedule.length == MOVED_AT_ONCE
