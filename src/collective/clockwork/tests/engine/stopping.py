"""Jobs that can be cancelled, run too long, or are stopped with their worker."""

from __future__ import annotations

from collective.clockwork.engine import context
from collective.clockwork.engine import local
from collective.clockwork.engine.backoff import Backoff
from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.errors import JobTimeoutError
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import deferring
from collective.clockwork.tests.engine import work
from datetime import timedelta
from pathlib import Path

import asyncio
import os
import time
import transaction


#: Seconds within which what is asked for here must have come.
PATIENCE = 20


def check_until_stopped(counter, name):
    """Comes to checkpoints until one of them raises."""
    counter.add()
    work.gate(f"{name} begun").set()
    wait_until(context.current().checkpoint, "a stop", PATIENCE)


def check_often_file(counter, begun: str):
    """The same, for a worker in another process."""
    counter.add()
    Path(begun).touch()
    wait_until(context.current().checkpoint, "a stop", PATIENCE)


def each_until_stopped(counter, name, *, ctx):
    for number in ctx.each(range(1_000_000), commit_every=10):
        if number == 10:
            counter.add()
            work.gate(f"{name} begun").set()
            wait_until(lambda: ctx.cancel_requested, "a cancel", PATIENCE)


async def sleep_until_stopped(counter, name):
    counter.add()
    work.gate(f"{name} begun").set()
    await asyncio.sleep(PATIENCE)


def ignore(counter, name):
    """Never looks whether it should stop."""
    counter.add()
    work.pass_gate(name)
    return name


def catch(counter, name):
    counter.add()
    try:
        check_until_stopped(counter, name)
    except CancelledError as error:
        return f"caught: {error}"


def fail_when_stopped(counter, name):
    """Makes another error of it, which its policy wants to have tried again."""
    counter.add()
    try:
        check_until_stopped(counter, name)
    except (CancelledError, JobTimeoutError) as error:
        raise ValueError("disturbed") from error


def defer_and_count(counter, name):
    counter.add()
    work.gate(f"{name} begun").set()
    return deferring.defer(name)


def note_failure(ledger, result):
    """A callback: notes what it got."""
    ledger.note(f"{type(result.value).__name__}: {result.value}")


def check_in_callback(ledger, name, result):
    """A callback that is not to be cancelled with its job."""
    work.pass_gate(name)
    context.current().checkpoint()
    ledger.note("callback")


def hang_first(counter, name):
    """Hangs at the first call only."""
    counter.add()
    calls = work.calls[name] = work.calls.get(name, 0) + 1
    if calls == 1:
        work.pass_gate(name)
    return calls


def check_first(counter, name):
    """Stops at a checkpoint at the first call, and returns at the second."""
    calls = work.calls[name] = work.calls.get(name, 0) + 1
    if calls == 1:
        check_until_stopped(counter, name)
    return calls


def conflict_then_check(counter, name):
    """Conflicts some times, which begins its time anew."""
    control = local.control
    work.gate(f"{name} begun").set()
    left = work.calls.setdefault(f"{name} left", [])
    left.append(control.seconds_left)
    return work.flaky(name, 3)


def count_until_file(counter, begun: str, gate: str, items: int, *, ctx):
    """Counts in chunks, until the gate is there or it is stopped."""
    for number in ctx.each(range(items), commit_every=10):
        counter.add()
        if number == 25:
            with open(begun, "a") as stream:
                stream.write(f"{os.getpid()}\n")
            wait_until(lambda: is_due_or_there(gate), "a stop", PATIENCE)
    return counter.count


def note_time(path: str) -> None:
    """Says when it began."""
    with open(path, "a") as stream:
        stream.write(f"{time.time()}\n")


def is_due_or_there(gate: str) -> bool:
    return local.control.is_due or Path(gate).exists()


def soon() -> Backoff:
    return Backoff(tries=3, first=timedelta(milliseconds=10), jitter=0)


def check_late(counter, result):
    """A callback that goes on until it is stopped."""
    check_until_stopped(counter, "late")


def ignore_result(counter, name, result):
    return ignore(counter, name)


def hang_first_result(counter, name, result):
    """A callback that hangs at the first call only."""
    return hang_first(counter, name)


def commit_and_ignore(counter, name, result):
    """A callback that commits, and then does not look whether it should stop."""
    counter.add()
    transaction.commit()
    return ignore(counter, name)
