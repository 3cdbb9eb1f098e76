"""When schedules are due: cron, intervals, time zones and daylight saving."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.schedules import timing
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from hypothesis import assume
from hypothesis import example
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from zoneinfo import ZoneInfo

import pytest


BERLIN = ZoneInfo("Europe/Berlin")

#: Clocks are put forward on the first day, and back on the second.
SPRING = datetime(2026, 3, 29, tzinfo=BERLIN)
AUTUMN = datetime(2026, 10, 25, tzinfo=BERLIN)

CRONS = (
    "30 2 * * *",
    "0,30 2,3 * * *",
    "30 * * * *",
    "*/15 2 * * *",
    "* * * * *",
    "59 1-3 * * SUN",
    "0 0 L * *",
    "30 */2 * * *",
)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    # Its clocks are put back by half an hour.
    "Australia/Lord_Howe",
    # And here that is done at midnight.
    "Asia/Beirut",
)
MINUTE = 60_000_000


def cron(text, zone="Europe/Berlin"):
    return timing.make(cron=text, timezone=zone)


def on_the_day(made, day):
    """The slots of one day, as the clocks show them, with their distance from UTC."""
    start = clock.to_us(day)
    end = clock.to_us(day + timedelta(days=1))
    slots = made.between(start - 1, end - 1)
    return [made.in_zone(slot).strftime("%H:%M%z") for slot in slots]


def test_half_past_two_comes_once_where_the_clocks_are_put_forward():
    assert on_the_day(cron("30 2 * * *"), SPRING) == ["03:00+0200"]


def test_half_past_two_comes_once_where_the_clocks_are_put_back():
    assert on_the_day(cron("30 2 * * *"), AUTUMN) == ["02:30+0200"]


def test_half_past_two_is_half_past_two_on_the_days_around():
    for day in (SPRING, AUTUMN):
        for days in (-1, 1):
            found = on_the_day(cron("30 2 * * *"), day + timedelta(days=days))
            assert [moment[:5] for moment in found] == ["02:30"]


def test_what_is_due_in_the_gap_and_what_is_due_at_its_end_come_once():
    assert on_the_day(cron("0,30 2,3 * * *"), SPRING) == ["03:00+0200", "03:30+0200"]


def test_an_hourly_cron_comes_each_hour_that_there_is():
    for day, hours in ((SPRING, 23), (AUTUMN, 25)):
        start = clock.to_us(day)
        end = clock.to_us(day + timedelta(days=1))
        slots = list(cron("30 * * * *").between(start, end))
        assert len(slots) == hours
        assert {b - a for a, b in zip(slots, slots[1:], strict=False)} == {60 * MINUTE}


def test_where_the_minute_has_a_star_an_hour_that_is_left_out_is_left_out():
    assert on_the_day(cron("*/30 2 * * *"), SPRING) == []
    twice = ["02:00+0200", "02:30+0200", "02:00+0100", "02:30+0100"]
    assert on_the_day(cron("*/30 2 * * *"), AUTUMN) == twice


def test_an_interval_counts_real_seconds_over_both_switches():
    every = timedelta(hours=6)
    for day in (SPRING, AUTUMN):
        made = timing.make(every=every, timezone="Europe/Berlin", start=day)
        slots = made.upcoming(made.start, 8)
        expected = [made.start + n * 360 * MINUTE for n in range(1, 9)]
        assert slots == expected


def test_an_interval_of_one_second_is_the_shortest():
    made = timing.make(every=timedelta(seconds=1), start=clock.EPOCH)
    assert made.upcoming(0, 2) == [1_000_000, 2_000_000]
    for every in (timedelta(seconds=0.999), timedelta(), timedelta(days=-1)):
        with pytest.raises(ValueError, match="must be 1 second or more"):
            timing.make(every=every)
    with pytest.raises(ValueError, match="3660 days or less"):
        timing.make(every=timedelta(days=3661))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0 31 2 *", "Bad day-of-month"),
        ("* * */20 * 1L", "never comes"),
        ("61 * * * *", "Bad minute"),
        ("* * * * ²L", "Bad day-of-week"),
        (
            "0 30 2 * * *",
            "has 6 fields: pass five.* For less than a minute, pass every",
        ),
        ("@daily", "has 1 fields"),
        ("", "has 0 fields"),
        ("1," * 200 + "1 * * * *", "has 409 characters: at most 200"),
    ],
)
def test_a_cron_that_cannot_be_read_or_never_comes_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        timing.make(cron=text)


def test_the_last_day_and_numbered_weekdays_are_understood():
    start = datetime(2026, 2, 10, tzinfo=timezone.utc)
    for text, day in (
        ("0 0 L * *", 28),
        ("0 0 LW * *", 27),
        ("0 0 * * FRI#3", 20),
        ("0 0 * * 5L", 27),
    ):
        made = cron(text, "UTC")
        moment = made.in_zone(made.next_after(clock.to_us(start)))
        assert (moment.month, moment.day) == (2, day)


def test_what_is_no_timing_is_refused():
    hour = timedelta(hours=1)
    for wrong, error, message in (
        ({}, ValueError, "neither was given"),
        ({"cron": "* * * * *", "every": hour}, ValueError, "both was given"),
        ({"cron": 5}, TypeError, "pass a text"),
        ({"every": 60}, TypeError, "pass a timedelta"),
        ({"every": hour, "start": "now"}, TypeError, "pass an aware datetime"),
        ({"every": hour, "start": datetime(2026, 1, 1)}, ValueError, "no time zone"),
        ({"every": hour, "timezone": 1}, TypeError, "pass a name"),
    ):
        with pytest.raises(error, match=message):
            timing.make(**wrong)


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "", "Europe", "../etc/passwd", "/etc/passwd", "a\0b"]
)
def test_a_time_zone_that_is_not_there_is_refused(name):
    with pytest.raises(ValueError, match="no time zone of that name is known here"):
        timing.make(cron="* * * * *", timezone=name)


def test_a_time_zone_that_is_there_no_more_is_said_when_slots_are_asked_for():
    made = timing.Timing(cron="30 2 * * *", timezone="US/Pacific-New")
    with pytest.raises(ValueError, match="'US/Pacific-New', and no time zone"):
        made.next_after(0)


moments = st.integers(
    clock.to_us(SPRING - timedelta(days=2)), clock.to_us(AUTUMN + timedelta(days=3))
)
near_switches = st.one_of(
    moments,
    st.builds(
        lambda day, minutes: clock.to_us(day) + minutes * MINUTE,
        st.sampled_from([SPRING, AUTUMN]),
        st.integers(-600, 1200),
    ),
)
timings = st.one_of(
    st.builds(cron, st.sampled_from(CRONS), st.sampled_from(ZONES)),
    st.builds(
        lambda seconds, start: timing.Timing(every=seconds * 1_000_000, start=start),
        st.integers(60, 1_000_000),
        moments,
    ),
)


@settings(deadline=None, max_examples=200)
@given(timings, near_switches, st.integers(0, 3 * 1440), st.integers(0, 3 * 1440))
@example(cron("30 2 * * *"), clock.to_us(AUTUMN), 135, 45)
@example(cron("30 2 * * *"), clock.to_us(SPRING), 45, 45)
def test_the_slots_are_the_same_wherever_one_begins_to_look(made, start, first, second):
    middle = start + first * MINUTE
    end = middle + second * MINUTE
    whole = list(made.between(start, end))
    assert whole == [*made.between(start, middle), *made.between(middle, end)]
    assert whole == sorted(set(whole))
    assert made.count(start, end, 10_000) == len(whole)
    assert made.latest(start, end) == (whole[-1] if whole else None)
    assume(whole)
    assert made.next_after(start) == whole[0]
    assert made.upcoming(start, len(whole)) == whole


@settings(deadline=None, max_examples=300)
@given(st.text("0123456789*/,-#L W²MONJAN?", max_size=30))
def test_whatever_is_written_a_cron_is_read_or_refused(text):
    try:
        made = timing.make(cron=text)
    except ValueError:
        return
    assert made.next_after(0) is not None
