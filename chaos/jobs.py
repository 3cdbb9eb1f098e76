"""What the jobs of the chaos suite do: each adds one entry to the ledger."""

from __future__ import annotations

from chaos.stages import DIRECTORY
from chaos.stages import reach
from chaos.stages import WORKER
from collective.clockwork.engine import local
from collective.clockwork.engine.failure import isFailure
from datetime import timedelta
from pathlib import Path
from persistent import Persistent

import os
import random
import signal
import threading
import time


#: Bytes of a result that is larger than anybody should store.
LARGE = 2_000_000


class Entry(Persistent):
    """A job's place in the ledger; written by the job's own transaction alone."""

    #: One text for each effect that was committed.
    effects: tuple = ()
    #: Position among those that wrote to the same Line.
    place: int | None = None
    #: Attempt that committed.
    attempt: int | None = None

    def add(self) -> None:
        """Add the effect of the job that runs."""
        worker = os.environ.get(WORKER, "none")
        self.effects = (*self.effects, f"{worker} {os.getpid()}")
        self.attempt = local.getJob().attempt


class Line(Persistent):
    """Numbers those that pass; a conflict is an error of who let two pass at once."""

    last = 0


class Wobble(Exception):
    """Raised by jobs that are tried again."""


class Patience(Persistent):
    """Retry policy: as often as it takes, at once or a moment later."""

    def __init__(self, job=None):
        #: Attempts that came to nothing.
        self.count = 0

    def jobError(self, failure, data_cache):
        """See IRetryPolicy."""
        count = data_cache["count"] = data_cache.get("count", self.count) + 1
        return True if count % 2 else timedelta(milliseconds=100)

    def commitError(self, failure, data_cache):
        """See IRetryPolicy."""
        return self.jobError(failure, data_cache)

    def interrupted(self):
        """See IRetryPolicy."""
        return True

    def updateData(self, data_cache):
        """See IRetryPolicy."""
        self.count = data_cache.get("count", self.count)


def write(entry: Entry, seconds: float = 0) -> None:
    """Job: add an entry, taking about that long."""
    reach("started")
    time.sleep(seconds / 2)
    entry.add()
    reach("worked")
    time.sleep(seconds / 2)


def write_in_line(entry: Entry, line: Line, key: str, seconds: float = 0) -> None:
    """Job: add an entry behind all others of this line."""
    tell("begin", key)
    line.last += 1
    entry.place = line.last
    write(entry, seconds)
    tell("end", key)


def tell(what: str, key: str) -> None:
    """Note an execution outside the database, where no abort can undo it."""
    path = Path(os.environ[DIRECTORY]) / f"line-{os.environ[WORKER]}.txt"
    with open(path, "a") as stream:
        stream.write(f"{time.monotonic()} {what} {key} {local.getJob().attempt}\n")


def write_and_fail(entry: Entry) -> None:
    """Job: add an entry, and raise."""
    write(entry)
    raise ValueError("as planned")


def write_and_wobble(entry: Entry) -> None:
    """Job: add an entry, and raise more often than not."""
    write(entry)
    if random.random() < 0.6:
        raise Wobble("as planned")


def write_unstorable(entry: Entry):
    """Job: add an entry, and return what cannot be pickled."""
    write(entry)
    return threading.Lock()


def write_large(entry: Entry) -> bytes:
    """Job: add an entry, and return far too much."""
    write(entry)
    return os.urandom(LARGE)


def kill_own_process(entry: Entry) -> None:
    """Job: poison. Adds an entry, and ends its process, each time."""
    entry.add()
    os.kill(os.getpid(), signal.SIGKILL)


def called_back(entry: Entry, result) -> None:
    """Callback: add an entry."""
    reach("callback")
    entry.add()
    reach("callback-worked")


def batch_done(entry: Entry, *members) -> int:
    """Job: the end of a batch; gives how many members did well."""
    write(entry)
    return sum(not isFailure(member.result) for member in members)


def hold(entry: Entry, path: str) -> None:
    """Job: its first execution never ends; the next adds an entry."""
    first = not os.path.exists(path)
    with open(path, "a") as stream:
        stream.write(f"{os.getpid()}\n")
    if first:
        time.sleep(3600)
    entry.add()
