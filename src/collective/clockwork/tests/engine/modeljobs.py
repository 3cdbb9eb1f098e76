"""The jobs of the model, and what its agents take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from collective.clockwork.engine import clock
from collective.clockwork.engine import context
from collective.clockwork.engine import local
from collective.clockwork.engine.agent import chooseFirst
from collective.clockwork.engine.compose import parallel
from collective.clockwork.engine.compose import serial
from collective.clockwork.engine.failure import isFailure
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.outcomes import Cancel
from collective.clockwork.engine.outcomes import RetryAfter
from collective.clockwork.engine.outcomes import Snooze
from collective.clockwork.engine.retry import RetryCommonFourTimes
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from twisted.internet.defer import Deferred


#: Jobs of this one, whose size stays 1, have to end in their order.
ORDERED = "one"
#: The size of this one is changed.
SIZED = "few"
#: Where a thread stops in the middle of a job that kills its process, or hangs.
DIES, HANGS = "dies", "hangs"


# What is known of them beside the database


@dataclass
class Attempt:
    """A call that may take too long; in microseconds."""

    began: int
    #: None if it did not come to its end.
    ended: int | None = None

    def lasted_less(self, most: int) -> bool:
        """Whether it came to its end before so many microseconds were over."""
        return self.ended is not None and self.ended - self.began < most


#: Name to the attempts of a job, in their order.
attempts: defaultdict[str, list[Attempt]] = defaultdict(list)
#: Names of jobs that kill no more.
mended: set[str] = set()


def forget() -> None:
    """Nothing is known of jobs of another world."""
    attempts.clear()
    mended.clear()
    promised.clear()


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Note when an attempt begins, and when it comes to its end."""
    attempt = Attempt(clock.now_us())
    attempts[name].append(attempt)
    yield
    attempt.ended = clock.now_us()


# What the jobs do


def effect(ledger, name, *args):
    ledger[name] = ledger.get(name, 0) + 1
    return name


def effect_and_fail(ledger, name, *args):
    effect(ledger, name)
    raise ValueError("after its effect")


def effect_on_all(ledger, name, shared):
    """Conflicts with all others of its kind."""
    shared.add()
    return effect(ledger, name)


def effect_later(ledger, name):
    """Does not work at its first attempt."""
    effect(ledger, name)
    if not local.getJob()._tries:
        raise LookupError("not yet")
    return name


def effect_and_inner(ledger, name, quota_names, wrong):
    """Queues a job, and waits for it."""
    effect(ledger, name)
    function = effect_and_fail if wrong else effect
    inner = Job(function, ledger, f"{name} inner")
    inner.quota_names = quota_names
    local.getJob().annotations["inner"] = inner
    return local.getQueue().put(inner)


def end_of_batch(ledger, name, *jobs):
    return effect(ledger, name)


def effect_in_parts(ledger, name):
    """Commits in the middle; what it did up to there may happen again."""
    with timed(name):
        effect(ledger, f"{name} before")
        ledger._p_jar.transaction_manager.commit()
        context.current().checkpoint()
        return effect(ledger, name)


def effect_and_cancel(ledger, name):
    """Is not to be done."""
    effect(ledger, name)
    raise Cancel("as planned")


def effect_after_asking(ledger, name, outcome):
    """Is too early at its first attempt, or at its second."""
    effect(ledger, name)
    job = local.getJob()
    if not job._tries and not job._snoozed:
        raise outcome
    return name


#: Lets time pass, in seconds; set by the world.
elapse: list = []


def effect_slowly(ledger, name):
    """Takes longer than it may, sometimes."""
    with timed(name):
        effect(ledger, name)
        elapse[-1](0.7)
        return name


def halt(ledger, where: str) -> None:
    """Stop the thread of this job here, until it is told to go on."""
    ledger._p_jar.transaction_manager.actor.stop(where)


def effect_and_hang(ledger, name):
    """Comes back when somebody wakes it up."""
    with timed(name):
        effect(ledger, name)
        halt(ledger, HANGS)
        return name


def effect_and_die(ledger, name):
    """Brings its process down, until it is mended."""
    effect(ledger, name)
    if name not in mended:
        halt(ledger, DIES)
    return name


class Watched(Deferred):
    """Knows whether somebody waits for it."""

    watched = False

    def addBoth(self, *args, **kwargs):
        self.watched = True
        return super().addBoth(*args, **kwargs)


#: Dispatcher, name and Deferred of each call below that nobody has fired, and whether
#: it may take any time.
promised: list[tuple] = []


def effect_and_defer(ledger, name):
    """Its effect is committed when it returns, its result comes later."""
    with timed(name):
        effect(ledger, name)
        deferred = Watched()
        patient = local.getJob().timeout is None
        promised.append((local.getDispatcher(), name, deferred, patient))
        return deferred


class PutOff(RetryCommonFourTimes):
    """Looks again three seconds later."""

    def jobError(self, failure, data_cache):
        if failure.check(LookupError):
            return timedelta(seconds=3)
        return super().jobError(failure, data_cache)


class Fragile(RetryCommonFourTimes):
    """Lets it be set aside after one death that was its fault."""

    max_interruptions = 0


class Sturdy(RetryCommonFourTimes):
    """Lets it be set aside after two of them."""

    max_interruptions = 1


KINDS = ["plain", "fails", "shared", "later", "returns", "serial", "parallel"]
KINDS += ["cancels", "snoozes", "asks again", "slow", "fragile"]
#: Those that may be grouped.
SHORT = ("plain", "fails", "shared")
#: And those that need somebody to go on with them, or do a part twice.
ALL_KINDS = [*KINDS, "fragile", "parts", "defers", "hangs", "late", "poison"]


def make_job(root, kind: str, name: str, quota_names: tuple, odd: bool) -> Job:
    """A job of this kind; ``odd`` varies what stands inside it."""
    ledger = root["ledger"]
    if kind == "fails":
        job = Job(effect_and_fail, ledger, name)
    elif kind == "shared":
        job = Job(effect_on_all, ledger, name, root["shared"])
    elif kind == "later":
        job = Job(effect_later, ledger, name)
        job.retry_policy_factory = PutOff
    elif kind == "returns":
        inner_quotas = quota_names if odd else ()
        job = Job(effect_and_inner, ledger, name, inner_quotas, not odd)
    elif kind in ("serial", "parallel"):
        members = [Job(effect, ledger, f"{name}.{n}") for n in range(2)]
        members.append(Job(effect_and_fail, ledger, f"{name}.2"))
        if odd:
            for member in members:
                member.quota_names = quota_names
        batch = serial if kind == "serial" else parallel
        job = batch(*members, postprocess=Job(end_of_batch, ledger, f"{name}.end"))
    elif kind == "parts":
        job = Job(effect_in_parts, ledger, name)
        if odd:
            job.timeout = timedelta(seconds=1)
    elif kind == "cancels":
        job = Job(effect_and_cancel, ledger, name)
    elif kind == "snoozes":
        job = Job(effect_after_asking, ledger, name, Snooze(2 if odd else 0))
    elif kind == "asks again":
        job = Job(effect_after_asking, ledger, name, RetryAfter(2 if odd else 0))
    elif kind == "slow":
        job = Job(effect_slowly, ledger, name)
        job.timeout = timedelta(seconds=0.5 if odd else 1)
    elif kind == "fragile":
        job = Job(effect, ledger, name)
        job.retry_policy_factory = Fragile
        # As if a process had died with it and with others.
        job._suspect = 1
    elif kind == "poison":
        job = Job(effect_and_die, ledger, name)
        job.retry_policy_factory = Sturdy
        job._suspect = int(odd)
    elif kind == "hangs":
        job = Job(effect_and_hang, ledger, name)
    elif kind == "too slow":
        job = Job(effect_slowly, ledger, name)
        job.timeout = timedelta(seconds=0.5)
    elif kind == "late":
        job = Job(effect_and_hang, ledger, name)
        job.timeout = timedelta(seconds=1)
    elif kind == "defers":
        job = Job(effect_and_defer, ledger, name)
        if odd:
            job.timeout = timedelta(seconds=1)
    else:
        job = Job(effect, ledger, name)
    job.quota_names = quota_names
    job.groupable = odd and kind in SHORT
    return job


# What they consist of


def family(job) -> Iterator[Job]:
    """The job and all that it consists of or has queued."""
    yield job
    if job.callable_name.endswith((".run_serial", ".run_parallel")):
        for member in job._args:
            yield from family(member)
        yield from family(job._kwargs["postprocess"])
    inner = job._annotations and job.annotations.get("inner")
    if inner:
        yield from family(inner)


def is_kept_briefly(job) -> bool:
    """Whether it may be gone once it is finished."""
    keep = job._keep_failure if isFailure(job._result) else job._keep_result
    return keep is not None


def outermost(job, quota_name: str):
    """The job that holds the place in a quota which this one uses."""
    place = job
    above = job._outer
    while above is not None:
        if above.is_waiting and quota_name in above.quota_names:
            place = above
        above = above._outer
    return place


# What an agent takes


def takes_free(job) -> bool:
    return not job.quota_names


def takes_ordered(job) -> bool:
    return job.quota_names == (ORDERED,)


def takes_nothing(job) -> bool:
    return False


def choose_ordered(agent):
    return agent.queue.claim(takes_ordered)


#: What an agent may be given: its filter and its chooser.
TASTES = [
    (None, None),
    (None, None),
    (takes_free, None),
    (takes_ordered, None),
    (takes_nothing, None),
    (None, chooseFirst),
    (None, choose_ordered),
]
