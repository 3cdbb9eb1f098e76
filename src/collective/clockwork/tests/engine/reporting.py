"""Jobs that report their progress."""

from __future__ import annotations

from collective.clockwork.engine import context
from collective.clockwork.tests.engine import work


def report(*reports):
    """Reports these, one after the other."""
    for keywords in reports:
        context.current().progress(**keywords)


def report_and_wait(name, *reports):
    """Reports these, and waits for the gate."""
    report(*reports)
    return work.pass_gate(name)


def log(count, prefix="line"):
    for number in range(count):
        context.current().log(f"{prefix} {number}")


def log_and_wait(name, count):
    log(count)
    work.pass_gate(name)
    log(count, "later")
    return work.pass_gate(f"{name} again")


def log_and_fail(count):
    log(count)
    context.current().progress(3, 10, "failing")
    raise ValueError("after the log")


def report_often(name, count):
    """Reports so often; the gate is passed at each hundredth."""
    ctx = context.current()
    for number in range(count):
        ctx.progress(number + 1, count, f"at {number}")
        if number % 100 == 99:
            work.pass_gate(f"{name} {number // 100}")


def report_in_callback(result):
    context.current().progress(message=f"callback of {result}")
    return work.pass_gate("callback")


def add_reporting(counter, count):
    for number in range(count):
        context.current().progress(number)
    return counter.add()
