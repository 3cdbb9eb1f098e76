"""What those jobs of the chaos suite do that have options, or a loop."""

from __future__ import annotations

from chaos.jobs import Entry
from chaos.jobs import tell
from chaos.stages import DIRECTORY
from chaos.stages import reach
from chaos.stages import WORKER
from collective.clockwork.engine import context
from collective.clockwork.engine.retry import RetryCommonFourTimes
from pathlib import Path

import asyncio
import os
import time


#: Items of a resumable job, how many it commits together, and seconds for each.
ITEMS = 250
COMMIT_EVERY = 6
ITEM = 0.008
#: Seconds that a job which does not look at its timeout takes.
HANGS_FOR = 11


class Impatient(RetryCommonFourTimes):
    """Retry policy of poison: it is set aside after few deaths."""

    max_interruptions = 3


async def write_async(entry: Entry, seconds: float = 0) -> None:
    """Job: add an entry, in a coroutine."""
    reach("started")
    await asyncio.sleep(seconds / 2)
    entry.add()
    reach("worked")
    await asyncio.sleep(seconds / 2)


def write_until_stopped(entry: Entry) -> None:
    """Job: add an entry, and go on until somebody says stop: a cancel or a timeout."""
    entry.add()
    while True:
        context.current().checkpoint()
        time.sleep(0.02)


def hang_and_write(entry: Entry) -> None:
    """Job: look at nothing for far too long, and then add an entry."""
    time.sleep(HANGS_FOR)
    entry.add()


def write_alone(entry: Entry, key: str, seconds: float = 0) -> None:
    """Job: add an entry, as the only unfinished job of its key."""
    tell("begin", key)
    entry.add()
    time.sleep(seconds)
    reach("worked")
    tell("end", key)


def write_each(entry: Entry, tally, key: str, *, ctx) -> None:
    """Job: count each item in the tally, and add an entry in the end."""
    path = Path(os.environ[DIRECTORY]) / f"each-{os.environ[WORKER]}.txt"
    call = f"{os.getpid()}.{time.monotonic_ns()}"
    for item in ctx.each(range(ITEMS), commit_every=COMMIT_EVERY):
        with open(path, "a") as stream:
            stream.write(f"{key} {call} {item} .\n")
        tally[item] = tally.get(item, 0) + 1
        reach("item")
        time.sleep(ITEM)
    entry.add()
