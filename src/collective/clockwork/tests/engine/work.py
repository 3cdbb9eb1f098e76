"""Functions and objects that the engine's tests queue."""

from __future__ import annotations

from collective.clockwork.engine import local
from collective.clockwork.engine.failure import Failure
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.live import notes_of
from collective.clockwork.engine.retry import RetryCommonFourTimes
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from persistent import Persistent
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError

import threading
import transaction


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


def raise_error(error):
    raise error if isinstance(error, Exception) else error("at commit")


def fail_at_commit(name, failures, error):
    """Lets the commit of its transaction fail so many times."""
    calls[name] = calls.get(name, 0) + 1
    if calls[name] <= failures:
        transaction.get().addBeforeCommitHook(raise_error, (error,))
    return calls[name]


class OwnWork(Job):
    """Its callable is a method of its own."""

    def __init__(self, *args):
        super().__init__(self.work, *args)

    def work(self, *args):
        return (type(self).__name__, args)


class Calls(Persistent):
    """A persistent object that can be called."""

    def __call__(self, value):
        return ("called", value)


def call_self():
    return local.getJob()()


def call_parent(result):
    return local.getJob().parent()


def note_own_status(ledger, *args):
    ledger.note(str(local.getJob().status))


def note_parent_status(ledger, result):
    ledger.note(str(local.getJob().parent.status))


def return_self():
    return local.getJob()


def first_type(job):
    return type(job).__name__


def triple(value):
    return value * 3


class Decides(RetryCommonFourTimes):
    """A retry policy that always says what its class says."""

    decision: object = False

    def jobError(self, failure, data_cache):
        return self.decision

    def commitError(self, failure, data_cache):
        return self.decision

    def interrupted(self):
        return self.decision


class InAnHour(Decides):
    decision = timedelta(hours=1)


class InYear3000(Decides):
    decision = datetime(3000, 1, 1)


def raise_key_error_of(mapping):
    raise KeyError(mapping)


class Unreadable(Exception):
    """Has no readable message."""

    def __str__(self):
        raise RuntimeError("no message")


class Unpicklable(Exception):
    """Cannot be stored."""

    def __reduce__(self):
        raise TypeError("cannot be stored")


def raise_unreadable():
    raise Unreadable()


def raise_unpicklable():
    raise Unpicklable("lost")


def raise_huge():
    raise ValueError("x" * 1_000_000)


def use_a_secret():
    password = "swordfish"
    raise LookupError(f"{len(password)} characters")


def append_to_batch(function, *args):
    """Lets the batch that the running job is a member of grow."""
    local.getJob()._outer.args.append(Job(function, *args))


def grow_by_callback(result):
    local.getJob().parent._outer.args.append(Job(mirror, "grown"))
    return result


def total(*jobs):
    return sum(job.result for job in jobs)


def chosen_by_oid(agent):
    """A chooser: takes jobs of ``mirror`` only."""
    return agent.queue.claim(lambda job: job.callable_name.endswith(".mirror"))


def mirrors(job):
    """A filter: takes jobs of ``mirror`` only."""
    return job.callable_name.endswith(".mirror")


def spawn(ledger, count):
    """Queues ``count`` jobs from inside a job."""
    for number in range(count):
        local.getQueue().put(Job(note, ledger, f"spawned {number}"))


def meet(own, other):
    """Says ``own`` and waits until the other job has said ``other``."""
    gate(own).set()
    if not gate(other).wait(20):
        raise RuntimeError(f"{other} never came")
    return own


LONG_AGO = datetime(2001, 1, 1, tzinfo=timezone.utc)


def add_callback_elsewhere(result):
    """Adds a callback to its parent, from another connection."""
    parent = local.getJob().parent
    if len(parent.callbacks) > 1:
        return
    manager = transaction.TransactionManager()
    connection = parent._p_jar.db().open(manager)
    connection.get(parent._p_oid).addCallback(triple)
    manager.commit()
    connection.close()


def first_and_note(ledger, name, result):
    ledger.note(name)
    return result


def note_first(ledger, name, result):
    ledger.note(name)


def swallow(failure):
    return 1


def fail_with(result):
    raise ValueError("a callback")


def put_and_return_late(function, argument, result):
    return local.getQueue().put(Job(function, argument))


def is_positive(value):
    return value > 0


def is_negative(value):
    return value < 0


def say(text, result):
    return text


class AtOnce(Decides):
    decision = True


class Veto(Persistent):
    """Cannot be committed as soon as it is changed."""

    def __getstate__(self):
        if getattr(self, "changed", None):
            raise RuntimeError("vetoed")
        return super().__getstate__()


def return_failure_and_veto(veto):
    """Its result is a failure, and the commit fails too."""
    veto.changed = True
    return Failure(ValueError("the first"))


ONE_SECOND = timedelta(seconds=1)


def fail_self():
    local.getJob().fail()


def elsewhere(obj, act):
    """Does ``act`` to the same object on another connection, and commits."""
    manager = transaction.TransactionManager()
    connection = obj._p_jar.db().open(manager)
    try:
        act(connection.get(obj._p_oid))
        manager.commit()
    finally:
        manager.abort()
        connection.close()


def add_and_fail_elsewhere(counter):
    """Somebody fails this job by hand while it runs."""
    counter.add()
    manager = transaction.TransactionManager()
    connection = counter._p_jar.db().open(manager)
    connection.get(local.getJob()._p_oid).fail()
    manager.abort()
    connection.close()


def add_and_get_callback_elsewhere(counter):
    """Somebody adds a callback to this job while it runs."""
    calls["added"] = calls.get("added", 0) + 1
    if calls["added"] == 1:
        elsewhere(local.getJob(), lambda job: job.addCallback(triple))
    return counter.add()


def add_and_return_lock(counter):
    counter.add()
    return threading.Lock()


def lock_of(result):
    return threading.Lock()


def exit_with(result):
    raise SystemExit("from a callback")


def label(text, *jobs):
    return text, total(*jobs)


def note_first_result(ledger, result):
    ledger.note(result)


def annotate_and_look(name, value):
    """Returns what the running job and another connection see of its note."""
    job = local.getJob()
    local.setLiveAnnotation(name, value)
    seen = {}
    elsewhere(job, lambda fresh: seen.update(notes_of(fresh)))
    return local.getLiveAnnotation(name), seen


def annotate_and_look_here(name, value):
    local.setLiveAnnotation(name, value)
    return dict(local.getJob().annotations)


def annotate_often(counter, count):
    for step in range(count):
        local.setLiveAnnotation("step", step)
    return counter.add()


def annotate_and_fail(name, value):
    local.setLiveAnnotation(name, value)
    raise ValueError("after the note")


def ask_and_wait():
    local.setLiveAnnotation("question", "ready?")
    return local.getLiveAnnotation("answer", timeout=20, poll=0.01)


def whoami():
    return (
        str(local.getDispatcher().UUID),
        local.getAgentName(),
        local.getQueue().name,
        local.getJob().agent is not None,
    )
