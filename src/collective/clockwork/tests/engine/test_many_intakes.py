"""Claiming from the intakes of many producers."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine.claims import Claim
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.tests.engine import work


def test_a_claim_loads_what_all_intakes_begin_with_in_a_few_round_trips(elsewhere):
    for _ in range(5):
        producer = elsewhere()
        producer.root()[KEY][""].put(work.answer)
        producer.transaction_manager.commit()
    claimer = elsewhere()
    queue = claimer.root()[KEY][""]
    asked = []
    claimer.prefetch = asked.append

    def claim():
        return Claim(queue, lambda job: True, 2, clock.now_us()).take()

    assert len(claim()) == 2
    intakes, items, cursors, jobs = asked
    assert len(items) == len(intakes) > 5
    assert len(cursors) == len(jobs) == 5
    # The next one has them in memory.
    del asked[:]
    assert len(claim()) == 2
    assert asked == []
