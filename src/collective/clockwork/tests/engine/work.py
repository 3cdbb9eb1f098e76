"""Functions and objects that the engine's tests queue."""

from __future__ import annotations

from collective.clockwork.engine import local
from collective.clockwork.engine.failure import Failure
from collective.clockwork.engine.job import Job
from persistent import Persistent
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError

import threading


class Counter(Persistent):
    """Something that jobs change."""

    count = 0

    def add(self, by=1):
        self.count += by
        return self.count

    def add_and_fail(self):
        self.count += 1
        raise ValueError("after the change")

    def add_and_return_failure(self):
        self.count += 1
        return Failure(ValueError("returned"))


class Ledger(PersistentMapping):
    """Takes note of who was here, in order."""

    def note(self, name):
        self[len(self)] = name


#: For jobs that have to wait for the test, or the test for them.
gates: dict[str, threading.Event] = {}


def gate(name: str) -> threading.Event:
    return gates.setdefault(name, threading.Event())


def pass_gate(name):
    """Says that it has begun, and waits until the test lets it go on."""
    gate(f"{name} begun").set()
    if not gate(name).wait(20):
        raise RuntimeError("nobody opened the gate")
    return name


def answer():
    return 42


def nothing():
    return None


def echo(*args, **kwargs):
    return args, kwargs


def mirror(value):
    return value


def boom(message="boom"):
    raise ValueError(message)


def conflict(*args):
    raise ConflictError("always")


#: Calls of ``flaky``, by name.
calls: dict[str, int] = {}


def flaky(name, failures, error=TransientError):
    """Fails so many times, then returns how often it was called."""
    calls[name] = calls.get(name, 0) + 1
    if calls[name] <= failures:
        raise error(f"call {calls[name]}")
    return calls[name]


def unpicklable_result():
    return threading.Lock()


def status_of_self():
    return str(local.getJob().status)


def note(ledger, name):
    ledger.note(name)
    return name


def note_result(ledger, result):
    ledger.note(str(result))
    return result


def put_and_return(function, *args):
    inner = local.getQueue().put(Job(function, *args))
    return inner


def put_in_quota_and_return(quota):
    inner = Job(answer)
    inner.quota_names = (quota,)
    return local.getQueue().put(inner)


def exit_thread():
    raise SystemExit("from a job")


def results(*jobs):
    return tuple(job.result for job in jobs)
