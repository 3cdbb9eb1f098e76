"""Which processes have clocks, and how clocks end."""

from __future__ import annotations

from collective.clockwork import clockserver
from collective.clockwork import clockthread
from collective.clockwork import startup
from collective.clockwork.clocksection import ClockSection
from collective.clockwork.clockthread import Clock
from collective.clockwork.clockthread import stop
from collective.clockwork.tests.engine.zeoprocess import PATIENCE
from collective.clockwork.tests.plone.clockhands import OK
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from unittest import mock

import pytest
import signal
import subprocess
import sys
import threading


#: Seconds; no test lasts so long that a clock of this period calls.
NEVER = 10**9

SECTIONS = {
    "one": ClockSection("one", "/@@tick", period=NEVER),
    "two": ClockSection("two", "/@@tick", period=NEVER),
}


@pytest.fixture
def start():
    """Sends the event of a start with these sections in zope.conf."""

    def start(**config):
        configuration = SimpleNamespace(**config)
        with (
            mock.patch("App.config.getConfiguration", return_value=configuration),
            # In a thread signals are left alone, and this process keeps its own.
            ThreadPoolExecutor(1) as thread,
        ):
            thread.submit(clockserver.start, None).result()
        return [clock.section.name for clock in clockthread.running]

    yield start
    stop()


def clock_threads():
    names = [thread.name for thread in threading.enumerate()]
    return sorted(name for name in names if name.startswith("clock-server"))


def test_a_process_that_serves_has_a_thread_per_section(start):
    assert start(product_config=SECTIONS) == ["one", "two"]
    assert clock_threads() == ["clock-server one", "clock-server two"]


def test_a_second_event_starts_nothing(start):
    start(product_config=SECTIONS)
    start(product_config=SECTIONS)
    assert clock_threads() == ["clock-server one", "clock-server two"]


@pytest.mark.parametrize("config", [{}, {"product_config": {}}])
def test_without_sections_nothing_starts(start, config):
    assert start(**config) == []
    assert clock_threads() == []


def test_zconsole_has_no_clocks(start):
    with mock.patch.dict(sys.modules, {startup.CONSOLE: mock.Mock()}):
        assert start(product_config=SECTIONS) == []


def test_stopped_clocks_have_no_threads(start, caplog):
    caplog.set_level("INFO", clockthread.logger.name)
    start(product_config=SECTIONS)
    stop()
    assert clock_threads() == []
    assert clockthread.running == []
    assert caplog.messages[-1] == "The clock-servers are stopped"


def test_a_stop_without_clocks_says_nothing(caplog):
    caplog.set_level("DEBUG", clockthread.logger.name)
    stop()
    assert caplog.messages == []


def start_calling(stopping, call):
    """Start a clock of this process that makes its first call at once."""
    moments = iter([0.0])
    section = ClockSection("tick", "/@@tick")
    clock = Clock(
        section, None, call, now=lambda: next(moments, 60.0), stopping=stopping
    )
    clockthread.running.append(clock)
    clock.start()
    return clock


def test_a_stop_waits_for_the_call_that_is_running():
    begun = threading.Event()
    stopping = threading.Event()
    ends = []

    def call(section):
        begun.set()
        assert stopping.wait(PATIENCE)
        ends.append(section.name)
        return OK

    clock = start_calling(stopping, call)
    assert begun.wait(PATIENCE)
    stop(grace=PATIENCE)
    assert ends == ["tick"]
    assert not clock.is_alive()


def test_a_call_that_takes_longer_than_the_grace_is_given_up(caplog):
    begun = threading.Event()
    end = threading.Event()

    def call(section):
        begun.set()
        assert end.wait(PATIENCE)
        return OK

    clock = start_calling(None, call)
    try:
        assert begun.wait(PATIENCE)
        stop(grace=0)
        assert clock.is_alive()
        text = "The clock-server tick (/@@tick) still calls after 0 s and is given up"
        assert text in caplog.messages
    finally:
        end.set()
        clock.join(PATIENCE)
    assert not clock.is_alive()


#: A process with one clock that is in the middle of a call. How the call ends and
#: what happens before the clock starts is filled in.
PROCESS = """\
from collective.clockwork import clockthread
from collective.clockwork.clockcall import Answer
from collective.clockwork.clocksection import ClockSection
import os, signal, threading, time

# Whatever started the tests may ignore it, as shells do for what is in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)

stopping = threading.Event()
begun = threading.Event()

def say(text):
    print(text, flush=True)

def serve():
    # A signal that comes right before a wait without end would not end it.
    while True:
        time.sleep(0.05)

def call(section):
    begun.set()
    stopping.wait()
    say("asked to stop")
    {rest}
    say("the call has ended")
    return Answer("200 OK")

{before}
moments = iter([0.0])
clock = clockthread.Clock(
    ClockSection("tick", "/@@tick"),
    None,
    call,
    now=lambda: next(moments, 60.0),
    stopping=stopping,
)
clockthread.running.append(clock)
clock.start()
clockthread.stop_before_signals()
begun.wait()
{after}
say("ready")
serve()
"""


@pytest.fixture
def process():
    """Starts such a process and returns it when it has said the first line."""
    started = []

    def start(rest="", before="", after="", first="ready"):
        script = PROCESS.format(rest=rest, before=before, after=after)
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        line = process.stdout.readline()
        assert line == f"{first}\n", line or process.stderr.read()
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_sigterm_ends_the_process_after_the_call(process):
    process = process()
    process.send_signal(signal.SIGTERM)
    said, errors = process.communicate(timeout=PATIENCE)
    assert said == "asked to stop\nthe call has ended\n"
    assert process.returncode == -signal.SIGTERM
    assert errors == ""


def test_sigint_interrupts_the_process_after_the_call(process):
    process = process()
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=PATIENCE)
    assert said == "asked to stop\nthe call has ended\n"
    assert errors.endswith("KeyboardInterrupt\n")


def test_a_second_sigterm_does_not_wait(process):
    process = process(rest="threading.Event().wait()")
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "asked to stop\n"
    process.send_signal(signal.SIGTERM)
    said, _errors = process.communicate(timeout=PATIENCE)
    assert said == ""
    assert process.returncode == -signal.SIGTERM


def test_a_server_keeps_its_own_handler(process):
    process = process(
        before="signal.signal(signal.SIGTERM, lambda *_: say('my own'))",
    )
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "my own\n"
    process.send_signal(signal.SIGINT)
    said, _errors = process.communicate(timeout=PATIENCE)
    assert said == "asked to stop\nthe call has ended\n"


def test_a_forked_child_ends_at_once_and_leaves_the_clocks_of_its_parent(process):
    # Python drops signals that come before a fork is complete.
    after = """
reading, writing = os.pipe()
child = os.fork()
if child:
    os.read(reading, 1)
    os.kill(child, signal.SIGTERM)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
else:
    os.write(writing, b"x")
    serve()
say(f"child {ended}, stopping {stopping.is_set()}")
"""
    process = process(after=after, first="child -15, stopping False")
    assert process.stdout.readline() == "ready\n"
