"""What a job says of itself in memory, and what readers make of it."""

from __future__ import annotations

from collective.clockwork.engine import progress
from collective.clockwork.engine.progress import Reporter

import pytest


def test_a_reporter_keeps_what_is_not_given():
    reporter = Reporter()
    reporter.report(1, 10, "first")
    reporter.report(2)
    assert reporter.said == (2, 10, None, "first")
    reporter.report(message="second")
    assert reporter.said == (2, 10, None, "second")
    reporter.report(percent=30)
    assert reporter.said == (2, 10, 30, "second")
    reporter.report(message="")
    assert reporter.said == (2, 10, 30, "")


def test_new_numbers_replace_a_percent():
    reporter = Reporter()
    reporter.report(percent=30)
    reporter.report(done=1)
    assert reporter.said == (1, None, None, None)


@pytest.mark.parametrize(
    "wrong, error",
    [
        ({"done": -1}, ValueError),
        ({"done": "3"}, TypeError),
        ({"done": True}, TypeError),
        ({"total": float("nan")}, ValueError),
        ({"total": float("inf")}, ValueError),
        ({"percent": 101}, ValueError),
        ({"percent": -0.1}, ValueError),
    ],
)
def test_what_is_no_number_is_refused(wrong, error):
    reporter = Reporter()
    reporter.report(1, 2)
    with pytest.raises(error, match=next(iter(wrong))):
        reporter.report(**wrong)
    assert reporter.said == (1, 2, None, None)


def test_messages_and_lines_are_cut():
    reporter = Reporter()
    reporter.report(message="x" * 10_000)
    reporter.log("y" * 10_000)
    assert len(reporter.said[3]) == progress.LINE_LENGTH
    assert len(reporter.lines()[1][0][1]) == progress.LINE_LENGTH


def test_only_the_newest_lines_are_kept():
    reporter = Reporter()
    for number in range(progress.LINES + 5):
        reporter.log(number)
    count, lines = reporter.lines()
    assert count == progress.LINES + 5
    assert [text for _at, text in lines] == [
        str(number) for number in range(5, progress.LINES + 5)
    ]


# How long it will take


def eta(*, after, done, total=None, percent=None, before=0):
    state = progress.State(done, total, percent, None, before, 0, after * 1_000_000)
    shown = progress._progress(state, (), after * 1_000_000)
    return shown.percent, shown.eta_seconds


@pytest.mark.parametrize(
    "given, expected",
    [
        ({"after": 10, "done": 25, "total": 100}, (25, 30)),
        ({"after": 10, "done": 75, "total": 100, "before": 50}, (75, 10)),
        ({"after": 10, "done": None, "percent": 50}, (50, 10)),
        ({"after": 10, "done": 120, "total": 100}, (100, 0)),
        ({"after": 10, "done": 0, "total": 100}, (0, None)),
        ({"after": 10, "done": 5}, (None, None)),
        ({"after": 10, "done": 50, "total": 100, "before": 50}, (50, None)),
        ({"after": 10, "done": 5, "total": 0}, (None, None)),
    ],
)
def test_the_time_that_is_left_goes_by_what_this_attempt_did(given, expected):
    assert eta(**given) == expected


def test_the_time_that_is_left_grows_shorter_while_nothing_is_written():
    state = progress.State(50, 100, None, None, 0, 0, 10_000_000)
    left = [
        progress._progress(state, (), now * 1_000_000).eta_seconds
        for now in (10, 14, 30)
    ]
    assert left == [10, 6, 0]
