"""What the jobs of the tests of priorities do."""

from __future__ import annotations

from collective.clockwork.engine import local
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.outcomes import Snooze
from collective.clockwork.tests.engine import work


def note_at_second(ledger, name):
    """Snoozes for a second at first."""
    if not local.getJob()._snoozed:
        raise Snooze(1)
    ledger.note(name)


def raise_at_first(ledger, name):
    """Fails at first; its policy has it tried again."""
    if not work.calls.get(name):
        work.calls[name] = 1
        raise ValueError("at first")
    ledger.note(name)


def put_inner(ledger, priority):
    """Returns a job of its own quota."""
    inner = Job(inner_work, ledger)
    inner.quota_names = local.getJob().quota_names
    return local.getQueue().put(inner, priority=priority)


def inner_work(ledger):
    ledger.note("inner")
    return "inner"


def count(ledger):
    """How many have noted something."""
    return len(ledger.values())
