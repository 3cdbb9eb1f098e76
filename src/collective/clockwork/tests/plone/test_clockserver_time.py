"""When a clock calls, and what it logs."""

from __future__ import annotations

from asyncio import CancelledError
from collective.clockwork import clockcall
from collective.clockwork.clockcall import Answer
from collective.clockwork.clocksection import ClockSection
from collective.clockwork.clockthread import Clock
from collective.clockwork.clockthread import logger
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine.zeoprocess import PATIENCE
from collective.clockwork.tests.plone.clockhands import Calls
from collective.clockwork.tests.plone.clockhands import OK
from collective.clockwork.tests.plone.clockhands import times_of_calls
from functools import partial

import logging
import pytest


#: Begins a minute, and is no full hour.
MINUTE = 1_000_020

DAY = 86_400
UNAUTHORIZED = Answer("401 Unauthorized")
FAILED = Answer("500 Internal Server Error")
TICK = ClockSection("tick", "/@@tick")


def test_the_first_call_comes_when_the_first_slice_is_over():
    assert times_of_calls(MINUTE + 1, MINUTE + 60, 60) == []
    assert times_of_calls(MINUTE + 1, MINUTE + 61, 60) == [MINUTE + 60]


def test_a_start_at_the_beginning_of_a_slice_does_not_call():
    assert times_of_calls(MINUTE, MINUTE + 59, 60) == []


def test_calls_do_not_drift_however_long_they_take():
    times = times_of_calls(MINUTE + 17, MINUTE + 400, 60, takes=[7, 59, 1, 30])
    assert times == [MINUTE + 60 * number for number in range(1, 7)]


@pytest.mark.parametrize("restarted", [1, 3_600, DAY - 1])
def test_a_daily_call_keeps_its_hour_over_restarts(restarted):
    midnight = 11 * DAY
    (time,) = times_of_calls(midnight + restarted, midnight + DAY + 1, DAY)
    assert time == midnight + DAY


def test_slices_that_pass_during_a_call_are_left_out():
    times = times_of_calls(MINUTE + 1, MINUTE + 360, 60, takes=[150])
    assert times == [MINUTE + 60, MINUTE + 240, MINUTE + 300]


def test_a_machine_that_slept_calls_once_for_all_that_it_missed():
    times = times_of_calls(MINUTE + 1, MINUTE + 400, 60, oversleeps=[200])
    assert times == [MINUTE + 231, MINUTE + 240, MINUTE + 300, MINUTE + 360]


def test_a_time_that_is_set_back_neither_stops_the_clock_nor_has_it_call_at_once():
    jumps = {1: -3630, 3: DAY}
    times = times_of_calls(MINUTE + 1, MINUTE + DAY - 3420, 60, jumps=jumps)
    assert times == [MINUTE + 60, MINUTE - 3540, MINUTE - 3480]


def test_calls_that_take_too_long_are_reported_once_and_so_is_their_end(caplog):
    caplog.set_level(logging.INFO, logger.name)
    times_of_calls(MINUTE + 1, MINUTE + 600, 60, takes=[70, 70, 70, 1, 1, 70])
    messages = [
        (record.levelname, record.getMessage().partition(": ")[0])
        for record in caplog.records
        if "due after 60 s" in record.getMessage() or "keeps" in record.getMessage()
    ]
    tick = "The clock-server tick (/@@tick)"
    late = ("WARNING", tick)
    assert messages == [late, ("INFO", f"{tick} keeps its period again"), late]


def logged(caplog, *outcomes, section=TICK, call=None):
    """Levels and texts of what a clock logs that gets these answers."""
    caplog.set_level(logging.DEBUG, logger.name)
    clock = Clock(section, None, call=call or Calls(*outcomes))
    for number in range(len(outcomes)):
        clock.pulse(number)
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_a_call_that_hangs_is_reported_before_it_ends(caplog):
    text = "had not ended when the next one was due after 1 s"

    def call(section):
        wait_until(lambda: text in caplog.text, "the warning", PATIENCE)
        return OK

    Clock(ClockSection("tick", "/@@tick", period=1), None, call).pulse(0)
    assert caplog.text.count(text) == 1


def test_each_call_is_logged_with_its_status_and_duration_and_the_first_aloud(caplog):
    first, second = logged(caplog, OK, OK)
    assert first[0] == "INFO"
    assert second[0] == "DEBUG"
    for _level, text in (first, second):
        assert text.startswith("The clock-server tick (/@@tick): 200 OK after 0.")
        assert text.endswith(" s")


def test_errors_are_logged_once_per_change_of_state(caplog):
    outcomes = [
        UNAUTHORIZED,
        UNAUTHORIZED,
        FAILED,
        FAILED,
        OSError("disk 1"),
        OSError("disk 2"),
        OK,
        OK,
        UNAUTHORIZED,
    ]
    levels = [level for level, _text in logged(caplog, *outcomes)]
    assert levels == [
        *("ERROR", "DEBUG", "ERROR", "DEBUG", "ERROR", "DEBUG"),
        *("INFO", "DEBUG", "ERROR"),
    ]
    messages = [record.getMessage() for record in caplog.records]
    assert "401 Unauthorized after" in messages[0]
    assert "works again: 200 OK after" in messages[6]
    traces = [record.exc_info for record in caplog.records if record.exc_info]
    assert [trace[0] for trace in traces] == [OSError]


def test_another_success_is_not_a_recovery(caplog):
    messages = logged(caplog, OK, Answer("204 No Content"), Answer("204 No Content"))
    assert [level for level, _text in messages] == ["INFO", "INFO", "DEBUG"]
    assert "again" not in messages[1][1]


def test_a_redirect_is_an_error_and_its_target_is_logged(caplog):
    login = Answer("302 Found", "http://localhost/Plone/login")
    ((level, text),) = logged(caplog, login)
    assert level == "ERROR"
    assert "302 Found, to http://localhost/Plone/login" in text


@pytest.mark.parametrize("error", [SystemExit(1), CancelledError()])
def test_a_view_that_exits_does_not_end_the_clock(caplog, error):
    levels = [level for level, _text in logged(caplog, error, OK)]
    assert levels == ["ERROR", "INFO"]


def test_a_missing_password_makes_no_call_and_is_reported_once(caplog, monkeypatch):
    monkeypatch.delenv("CLOCK_PASSWORD", raising=False)
    section = ClockSection("tick", "/@@tick", user="x", password_env="CLOCK_PASSWORD")
    requests = []

    def application(environ, start_response):
        requests.append(environ["HTTP_AUTHORIZATION"])
        start_response("200 OK", [])
        return []

    call = partial(clockcall.call, application=application)
    clock = Clock(section, None, call=call)
    caplog.set_level(logging.INFO, logger.name)
    clock.announce()
    clock.pulse(1)
    clock.pulse(2)
    assert requests == []
    at_start, how, at_call = [record.getMessage() for record in caplog.records]
    assert "has no password, and calls when it has. The environment" in at_start
    assert "is called as x every 60 s" in how
    assert "no call is made. The environment variable CLOCK_PASSWORD is not" in at_call

    monkeypatch.setenv("CLOCK_PASSWORD", "y")
    clock.pulse(3)
    assert requests == ["Basic eDp5"]
    assert "works again" in caplog.messages[-1]


@pytest.mark.parametrize(
    ("keys", "has"),
    [
        ({"user": "admin"}, "a user but no password"),
        ({"password": "secret"}, "no user"),
        ({"password_file": __file__}, "no user"),
    ],
)
def test_half_of_the_credentials_make_anonymous_calls_with_a_warning(caplog, keys, has):
    caplog.set_level(logging.INFO, logger.name)
    Clock(ClockSection("tick", "/@@tick", **keys), None).announce()
    warning, how = caplog.records
    assert warning.levelname == "WARNING"
    assert f"calls anonymously: it has {has}. Give it both" in warning.getMessage()
    assert "is called as Anonymous every 60 s" in how.getMessage()


def test_a_clock_says_who_it_is_and_not_its_password(caplog):
    caplog.set_level(logging.INFO, logger.name)
    Clock(ClockSection("tick", "/x", 5, "admin", "secret"), None).announce()
    expected = "The clock-server tick (/x) is called as admin every 5 s"
    assert caplog.messages == [expected]
