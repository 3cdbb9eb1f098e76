"""Jobs with loops that can be gone on with."""

from __future__ import annotations

from BTrees.OOBTree import OOBTree
from collective.clockwork.engine import context
from collective.clockwork.engine import local
from collective.clockwork.engine.commit import pause
from collective.clockwork.tests.engine import work
from datetime import timedelta
from ZODB.POSException import ConflictError

import os
import transaction


class Stop(Exception):
    """Ends an attempt in the middle; the job is tried again."""


class Again(work.RetryCommonFourTimes):
    """Tries again after what the jobs here do on purpose."""

    def jobError(self, failure, data_cache):
        return bool(failure.check(Stop, ConflictError))


class Later(work.Decides):
    """Puts the job off, to no time at all."""

    decision = timedelta(0)


class Ledger(OOBTree):
    """How often each item's effect is in the database."""

    def add(self, item):
        self[item] = self.get(item, 0) + 1


#: What was visited, in order, whatever became of it.
visits: list = []
#: The keys that functions were asked with.
asked: list = []
#: For jobs that behave differently each time.
times: dict = {}


def count(name) -> int:
    times[name] = times.get(name, 0) + 1
    return times[name]


def add_all(ledger, items, stop_at=(), *, ctx, **options):
    """Adds each item; stops the n-th attempt at the n-th of ``stop_at``."""
    attempt = count("add_all")
    for item in ctx.each(items, **options):
        visits.append(item)
        ledger.add(item)
        if attempt <= len(stop_at) and item == stop_at[attempt - 1]:
            raise Stop(item)
    return attempt


def add_behind(ledger, source, stop_at=(), *, ctx, commit_every=3):
    """The same, over the keys of a tree."""
    attempt = count("add_behind")

    def behind(after):
        asked.append(after)
        return source.keys(after, excludemin=after is not None)

    for item in ctx.each(behind, commit_every=commit_every, key=same):
        visits.append(item)
        ledger.add(item)
        if attempt <= len(stop_at) and item == stop_at[attempt - 1]:
            raise Stop(item)
    return attempt


def same(item):
    return item


def add_with_conflict(ledger, items, at, often, before=False, *, ctx):
    """Somebody writes what the chunk with item ``at`` writes, so many times."""
    attempt = count("runs")
    if before:
        ledger.add(-1)
    for item in ctx.each(items, commit_every=5):
        visits.append(item)
        ledger.add(item)
        if item == at and count("conflicts") <= often:
            work.elsewhere(ledger, lambda fresh, item=item: fresh.add(item))
    return attempt


def nested(ledger, outer, inner, every, stop_at=(), *, ctx):
    attempt = count("nested")
    for one in ctx.each(outer, commit_every=every[0]):
        for two in ctx.each(inner, commit_every=every[1]):
            visits.append((one, two))
            ledger.add((one, two))
            if attempt <= len(stop_at) and (one, two) == stop_at[attempt - 1]:
                raise Stop((one, two))
    return attempt


def in_turn(ledger, first, second, stop_at=(), names=("", ""), *, ctx):
    attempt = count("in_turn")
    for number, items in enumerate((first, second)):
        for item in ctx.each(items, commit_every=3, name=names[number]):
            visits.append(item)
            ledger.add(item)
            if attempt <= len(stop_at) and item == stop_at[attempt - 1]:
                raise Stop(item)
    return attempt


def leave_early(ledger, items, leave_at, then, stop_at=(), *, ctx):
    """Leaves a loop by break, and goes on with another."""
    attempt = count("leave_early")
    for item in ctx.each(items, commit_every=3):
        visits.append(item)
        ledger.add(item)
        if item == leave_at:
            break
    for item in ctx.each(then, commit_every=3):
        visits.append(item)
        ledger.add(item)
        if attempt <= len(stop_at) and item == stop_at[attempt - 1]:
            raise Stop(item)
    return attempt


def add_after(ledger, result, *, ctx):
    """A callback."""
    for item in ctx.each(range(100, 110), commit_every=3):
        ledger.add(item)
    return "after"


def take_turns(first, second, *, ctx):
    return list(zip(ctx.each(first), ctx.each(second), strict=True))


def hold_inner(items, *, ctx):
    """Leaves an inner loop open."""
    held = []
    for _item in ctx.each(items):
        loop = ctx.each(items)
        next(loop)
        held.append(loop)


def same_name(*, ctx, at_once=False):
    for _item in ctx.each("ab", name="x"):
        if at_once:
            next(ctx.each("ab", name="x"))
    if not at_once:
        next(ctx.each("ab", name="x"))


def commit_inside(ledger, *, ctx, abort=False):
    for item in ctx.each(range(10), commit_every=2):
        ledger.add(item)
        if item == 3:
            transaction.abort() if abort else transaction.commit()


def cancel_itself(ledger, items, at, *, ctx, commit_every=4):
    for item in ctx.each(items, commit_every=commit_every):
        ledger.add(item)
        if item == at:
            local.control.ask_to_cancel("anna", "enough")


def outlive_timeout(ledger, items, at, *, ctx):
    for item in ctx.each(items, commit_every=4):
        ledger.add(item)
        if item == at:
            local.control.begin_attempt(-1)


def stop_in_the_middle(ledger, items, at, *, ctx):
    """Waits at one item until the worker is about to stop."""
    attempts = [ctx.attempt]
    for item in ctx.each(items, commit_every=100):
        visits.append(item)
        ledger.add(item)
        if item == at and count("stops") == 1:
            work.gate("at").set()
            local.stopping.wait(20)
    return attempts


def commit_and_pause():
    """Commits in the middle, and the first time waits until the worker stops."""
    local.getJob().annotations["begun"] = True
    transaction.commit()
    work.gate("committed").set()
    if count("pauses") == 1:
        pause(20)
    return times["pauses"]


def taken_over(ledger, items, at, *, ctx):
    """Somebody takes the job over while it is in the middle of a chunk."""
    for item in ctx.each(items, commit_every=4):
        visits.append(item)
        ledger.add(item)
        if item == at and count("taken") == 1:
            work.elsewhere(ctx.job, take_over)


def take_over(job):
    job.put_off(None)


def wrong_arguments(arguments, *, ctx):
    return list(ctx.each(*arguments[0], **arguments[1]))


def conflict_in_body(ledger, items, at, *, ctx):
    for item in ctx.each(items, commit_every=4):
        visits.append(item)
        ledger.add(item)
        if item == at and count("body") == 1:
            raise ConflictError("in the body")


def progress_of_loop(items, *, ctx):
    for _item in ctx.each(items, commit_every=4, total=len(items)):
        local.getJob().annotations["said"] = local.control.reporter.said


def own_progress(items, *, ctx):
    ctx.progress(77, 100)
    for _item in ctx.each(items, commit_every=4):
        local.getJob().annotations["said"] = local.control.reporter.said


def about_itself(*, ctx):
    return (
        ctx.job is local.getJob(),
        ctx is context.current(),
        ctx.attempt,
        ctx.idempotency_key,
        ctx.cancel_requested,
    )


def about_attempts(*, ctx):
    visits.append((ctx.attempt, ctx.idempotency_key))
    if count("attempts") < 3:
        ctx.job.on_purpose = True
        raise ValueError("again")


def without_context():
    return context.current().attempt


def checkpoints(*, ctx):
    ctx.checkpoint()
    local.control.ask_to_cancel("bert")
    assert ctx.cancel_requested
    ctx.checkpoint()


def visit_many(ledger, size, every, path, *, ctx):
    """For workers that are killed: notes each visit in a file and the database."""
    stream = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        for item in ctx.each(range(size), commit_every=every):
            os.write(stream, f"{os.getpid()} {item}\n".encode())
            ledger.add(item)
    finally:
        os.close(stream)
    return ctx.attempt
