"""Time that tests of clocks move, and calls whose outcome they choose."""

from __future__ import annotations

from collective.clockwork.clockcall import Answer
from collective.clockwork.clocksection import ClockSection
from collective.clockwork.clockthread import Clock


OK = Answer("200 OK")


class Hands:
    """The time for a clock, and the event for which it waits."""

    def __init__(self, now: int, until: int):
        self.now = now
        self.until = until
        #: Seconds by which the next waits are longer than asked for.
        self.oversleeps: list[int] = []

    def time(self) -> int:
        return self.now

    def is_set(self) -> bool:
        return self.now >= self.until

    def wait(self, seconds: float) -> bool:
        self.now += seconds + (self.oversleeps.pop() if self.oversleeps else 0)
        return self.is_set()


class Calls:
    """Stands for the application: answers, or raises, one outcome after the other."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.count = 0

    def __call__(self, section):
        self.count += 1
        outcome = self.outcomes.pop(0) if self.outcomes else OK
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def times_of_calls(start, until, period, takes=(), oversleeps=(), jumps=None):
    """When a clock calls that runs from `start` to `until`.

    `takes` are the durations of the calls, 0 after the last one. `jumps` has, for
    the number of a call, by how much the time is set during it.
    """
    hands = Hands(start, until)
    hands.oversleeps = list(oversleeps)
    durations = list(takes)
    times = []

    def call(section):
        times.append(hands.now)
        hands.now += durations.pop(0) if durations else 0
        hands.now += (jumps or {}).get(len(times), 0)
        return OK

    section = ClockSection("tick", "/@@tick", period=period)
    Clock(section, None, call=call, now=hands.time, stopping=hands).run()
    return times
