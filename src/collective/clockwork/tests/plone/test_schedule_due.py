"""Which slots fire and which were missed: decided without a database."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.schedules import due
from collective.clockwork.schedules.info import MISSED
from collective.clockwork.schedules.timing import Timing
from datetime import datetime
from datetime import timezone
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

import pytest


SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
NOON = clock.to_us(datetime(2026, 6, 1, 12, tzinfo=timezone.utc))

HOURLY = Timing(cron="0 * * * *")


def decide(timing=HOURLY, **given):
    asked = {"after": NOON, "now": NOON, "grace": MINUTE, "missed": "once", **given}
    return due.decide(timing, **asked)


def test_nothing_is_done_before_a_slot_has_come():
    assert decide(now=NOON + HOUR - 1) is None


@pytest.mark.parametrize("missed", MISSED)
def test_a_slot_fires_at_its_moment_and_until_the_grace_is_over(missed):
    slot = NOON + HOUR
    for late in (0, 1, MINUTE):
        found = decide(now=slot + late, missed=missed)
        assert found == due.Decision(None, (slot,), slot)


def test_a_late_slot_is_left_out_fires_or_fires_with_all_others():
    slots = [NOON + n * HOUR for n in range(1, 4)]
    now = slots[-1] + MINUTE + 1
    assert decide(now=now, missed="skip") == due.Decision(
        due.Missed(3, slots[0], slots[2]), (), slots[2]
    )
    assert decide(now=now, missed="once") == due.Decision(
        due.Missed(2, slots[0], slots[1]), (slots[2],), slots[2]
    )
    assert decide(now=now, missed="all") == due.Decision(None, tuple(slots), slots[2])


def test_once_fires_no_late_slot_if_there_is_one_in_time():
    slots = [NOON + n * HOUR for n in range(1, 4)]
    left_out = due.Missed(2, slots[0], slots[1])
    for missed in ("skip", "once"):
        found = decide(now=slots[-1], missed=missed)
        assert found == due.Decision(left_out, (slots[2],), slots[2])


def test_a_single_late_slot_fires_once_with_nothing_missed():
    slot = NOON + HOUR
    found = decide(now=slot + 2 * MINUTE)
    assert found == due.Decision(None, (slot,), slot)


def test_each_slot_that_is_in_time_fires():
    found = decide(now=NOON + 3 * HOUR, grace=3 * HOUR, missed="skip")
    assert found.fire == (NOON + HOUR, NOON + 2 * HOUR, NOON + 3 * HOUR)
    assert found.missed is None


def test_all_of_many_slots_fire_a_hundred_at_a_time():
    every_second = Timing(every=SECOND, start=NOON)
    now = NOON + 250 * SECOND
    after, sizes = NOON, []
    while True:
        found = decide(every_second, after=after, now=now, missed="all")
        if found is None:
            break
        assert found.fire[0] == after + SECOND
        after = found.until
        sizes.append(len(found.fire))
    assert sizes == [100, 100, 50]
    assert after == now


def test_a_clock_that_was_put_back_fires_nothing_until_it_is_there_again():
    assert decide(after=NOON, now=NOON - HOUR) is None
    assert decide(after=NOON, now=NOON - HOUR, missed="all") is None
    assert decide(after=NOON, now=NOON + HOUR).fire == (NOON + HOUR,)


def test_years_without_a_worker_are_left_out_at_once():
    every_second = Timing(every=SECOND, start=NOON)
    now = NOON + 365 * 24 * HOUR
    found = decide(every_second, now=now, grace=0, missed="skip")
    assert found.missed.count == 365 * 24 * 3600 - 1
    assert found.fire == (now,)
    each_minute = decide(Timing(cron="* * * * *"), now=now, grace=0, missed="skip")
    assert each_minute.missed == due.Missed(due.COUNTED, NOON + MINUTE, now - MINUTE)


@pytest.mark.parametrize("jitter", [0, 1, MINUTE])
def test_jitter_puts_off_by_the_same_part_of_it_for_whoever_asks(jitter):
    found = [due.put_off("site", "name", n, jitter) for n in range(500)]
    assert found == [due.put_off("site", "name", n, jitter) for n in range(500)]
    assert min(found) >= 0
    assert max(found) <= max(0, jitter - 1)


def test_jitter_spreads_slots_and_schedules():
    slots = {due.put_off("site", "name", n, HOUR) * 4 // HOUR for n in range(100)}
    names = {due.put_off("site", f"{n}", 7, HOUR) * 4 // HOUR for n in range(100)}
    sites = {due.put_off(f"{n}", "name", 7, HOUR) * 4 // HOUR for n in range(100)}
    assert slots == names == sites == {0, 1, 2, 3}


timings = st.one_of(
    st.sampled_from(
        [
            HOURLY,
            Timing(cron="*/7 * * * *", timezone="Europe/Berlin"),
            Timing(cron="30 2 * * *", timezone="Europe/Berlin"),
        ]
    ),
    st.builds(
        Timing,
        every=st.integers(5 * MINUTE, 3 * HOUR),
        start=st.integers(0, NOON),
    ),
)
#: What happens between two looks: so much time passes, and the worker that looks
#: stores what it decides, or is killed before.
looks = st.lists(
    st.tuples(st.integers(0, 5 * HOUR) | st.just(4 * 24 * HOUR), st.booleans()),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=120)
@given(timings, looks, st.sampled_from(MISSED), st.integers(0, 2 * HOUR))
def test_every_slot_is_decided_once_and_in_order(timing, looks, missed, grace):
    now = decided = NOON
    expected = NOON
    for passed, survives in looks:
        now += passed
        while True:
            found = due.decide(
                timing, after=decided, now=now, grace=grace, missed=missed
            )
            if found is None:
                assert timing.next_after(decided) is None or (
                    timing.next_after(decided) > now
                )
                break
            if not survives:
                break
            expected = _follow(timing, expected, found, now, grace, missed)
            decided = found.until


def _follow(timing, expected, found, now, grace, missed):
    """Go through one decision; what was decided up to its end."""
    if found.missed is not None:
        assert missed != "all"
        assert found.missed.first == timing.next_after(expected)
        assert found.missed.last < now - grace
        if found.missed.count < due.COUNTED:
            counted = timing.count(expected, found.missed.last, due.COUNTED * 1000)
            assert found.missed.count == counted
        expected = found.missed.last
    assert len(found.fire) <= due.AT_ONCE
    late = [slot for slot in found.fire if slot < now - grace]
    assert missed == "all" or len(late) <= 1
    for slot in found.fire:
        assert slot == timing.next_after(expected)
        assert slot <= now
        expected = slot
    assert found.until == expected
    return expected
