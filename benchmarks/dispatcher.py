"""What an event costs with 100,000 handlers of which 10 match, over 10 handlers."""

from __future__ import annotations

from collections.abc import Iterator
from collective.clockwork.eventdispatcher import EventDispatcher
from itertools import count
from itertools import islice
from statistics import median

import gc
import time


#: Handlers that match, all handlers, and events that are timed.
MATCHING = 10
MANY = 100_000
EVENTS = 2_000

DETAILS = {"event_type": "created", "user": "bob", "role": "admin", "site": "/Plone"}


def dispatch_scale(many: int = MANY, events: int = EVENTS) -> dict:
    """Figures by key: the ratio, and microseconds of an event in both cases."""
    few = _dispatcher(_matching())
    full = _dispatcher([*_matching(), *islice(_others(), many - MATCHING)])
    assert full.handler_count == many
    called: list[int] = []
    rounds = [(_fire(few, called), _fire(full, called)) for _ in range(events)]
    assert sum(called) == 2 * events * MATCHING
    # Timed in turn: the machine's pace drifts.
    small, large = (median(times) * 1e6 for times in zip(*rounds, strict=True))
    return {
        "dispatch_100k_ratio": large / small,
        "dispatch_us_10": small,
        "dispatch_us_100k": large,
    }


def _matching() -> list[dict[str, str]]:
    """Specs of all shapes, which the event matches."""
    names = list(DETAILS)
    return [
        {name: DETAILS[name] for bit, name in enumerate(names) if number >> bit & 1}
        for number in range(MATCHING)
    ]


def _others() -> Iterator[dict[str, str]]:
    """Specs of all shapes, each of which differs from the event in one value."""
    names = list(DETAILS)
    for number in count():
        shape = number % (2 ** len(names) - 1) + 1
        spec = {n: DETAILS[n] for bit, n in enumerate(names) if shape >> bit & 1}
        spec[list(spec)[number % len(spec)]] = f"another {number}"
        yield spec


def _dispatcher(specs: list[dict[str, str]]) -> EventDispatcher:
    made = EventDispatcher(tuple(DETAILS))
    for number, spec in enumerate(specs):
        made.add_event_handler(_handler, made.phases[number % 3], **spec)
    made.start()
    return made


def _handler(event: list[int]) -> None:
    event[0] += 1


def _fire(dispatcher: EventDispatcher, called: list[int]) -> float:
    """Seconds of one event; notes how many handlers it has called."""
    event = [0]
    gc.disable()
    try:
        begun = time.perf_counter()
        dispatcher.fire_event(event, **DETAILS)
        took = time.perf_counter() - begun
    finally:
        gc.enable()
    called.append(event[0])
    return took
