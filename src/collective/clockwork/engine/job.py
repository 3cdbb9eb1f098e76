"""A job: a call, stored in the database, to be made later.

What a job is stands here; how it is run stands in ``run``. One database record
holds all of a plain job: arguments, times and result are in it, and what is
rarely used (annotations, callbacks, a retry policy) is made when first needed.

Writers: the transaction that queues it, the run that finishes it, and a
take-over. It has no conflict resolution, and must never get one: two of these
writing it at once is exactly what has to fail.
"""

from __future__ import annotations

from . import callables
from . import cancelling
from . import clock
from . import context
from . import coroutines
from . import interfaces
from . import retry
from . import retrying
from . import run
from .base import Base
from .base import same
from .callbacks import adopt
from .callbacks import ConditionalCallbackProxy
from .callbacks import SuccessFailureCallbackProxy
from .commit import log
from .deaths import Mortal
from .failure import Failure
from .failure import isFailure
from .interfaces import AbortedError
from .interfaces import BadStatusError
from .interfaces import IAgent
from .interfaces import ICallbackProxy
from .interfaces import IJob
from .interfaces import IQueue
from .jobstate import Record
from .options import Options
from .quarantine import holds
from .retry import callback_retry_policy_factory
from .retry import NeverRetry
from .retry import RetryCommonForever
from .retry import RetryCommonFourTimes
from .threadlocal import local
from .times import BEGUN
from .times import FINISHED
from .times import IN_CALLBACKS
from .times import NOT_BEGUN
from .times import Times
from .views import Annotations
from .views import Arguments
from .views import Keywords
from collections.abc import Iterator
from transaction.interfaces import TransactionError
from zope.interface import implementer


__all__ = [
    "ConditionalCallbackProxy",
    "Job",
    "NeverRetry",
    "RetryCommonForever",
    "RetryCommonFourTimes",
    "SuccessFailureCallbackProxy",
    "callback_retry_policy_factory",
    "isFailure",
]


@implementer(IJob)
class Job(Times, Options, Mortal, Record, Base):
    """``Job(callable, *args, **kwargs)``; see IJob.

    Raises TypeError if the first argument cannot be called, ValueError if a
    worker could not import it.
    """

    #: One of the four codes above.
    _status = NOT_BEGUN
    #: What was returned, a Failure, or the inner job that is waited for.
    _result = None
    #: The queue from ``put`` on, the agent once finished; for a callback the
    #: job or proxy that it was added to.
    _parent = None
    #: Raised by each take-over, withdrawal and retry.
    attempt = 0
    #: How many attempts were begun and came to nothing.
    _tries = 0
    #: Dotted name of a function, or an object; and the name of its method.
    _callable: object = None
    _method: str | None = None
    _args: tuple = ()
    _kwargs: dict | None = None
    _annotations = None
    _callbacks: tuple = ()
    _quota_names: tuple = ()
    #: The job that waits for this one, if any.
    _outer = None
    #: Whether it waits for a Deferred; written by its run and what ends that.
    _deferred = False
    #: Path of a loop to how far it is; see ``loops``. Written by its runs.
    _cursors: dict | None = None
    #: What it reported last; see ``progress``. Written by the run that ends it.
    _report: tuple | None = None
    #: How it ended before it was retried by hand; see ``retrying``.
    _endings: tuple = ()
    #: Set by a take-over whose policy allows no further attempt.
    _aborting = False
    #: Why it waits although it is due, in words; else None.
    waits_for: str | None = None
    _retry_policy = None
    failure_log_level: int | None = None
    retry_policy_factory: object = None

    def __init__(*args, **kwargs):
        self, callable, *args = args
        self.callable = callable
        self._args = tuple(args)
        if kwargs:
            self._kwargs = kwargs

    @classmethod
    def bind(*args, **kwargs):
        """A job that gets itself as first argument."""
        cls, callable, *args = args
        job = cls(callable, *args, **kwargs)
        job._args = (job, *job._args)
        return job

    # What is called

    @property
    def callable(self):
        """What is called; raises UnresolvableError if its code is not here."""
        return callables.join(self._callable, self._method)

    @callable.setter
    def callable(self, value):
        if self.status != interfaces.NEW:
            raise BadStatusError(
                f"the callable of a job cannot be changed in status {self.status}"
            )
        owner, method = callables.split(value)
        self._callable = owner
        self._method = method
        if isinstance(owner, Job) and owner._parent is None and owner is not self:
            owner._parent = self

    @property
    def callable_name(self) -> str:
        """Dotted name of what is called; needs no import."""
        return callables.name_of(self._callable, self._method)

    @property
    def args(self) -> Arguments:
        """Positional arguments; a list that may be changed until it runs."""
        return Arguments(self)

    @property
    def kwargs(self) -> Keywords:
        """Keyword arguments; a mapping that may be changed until it runs."""
        return Keywords(self)

    @property
    def annotations(self) -> Annotations:
        """Notes of its user; committed together with the job's work."""
        return Annotations(self)

    # Where it is

    @property
    def parent(self):
        """Its queue, the agent that has it, or what it is a callback of."""
        stored = self._parent
        if self._status < IN_CALLBACKS and IQueue.providedBy(stored):
            holder = stored.holder(self)
            return stored if holder is None else holder
        return stored

    @parent.setter
    def parent(self, value):
        self._parent = value

    @property
    def queue(self):
        """The nearest queue above it; None if there is none."""
        above = self._parent
        while above is not None and not IQueue.providedBy(above):
            above = above.parent
        return above

    @property
    def agent(self):
        """The agent that has it or had it; None if there is none."""
        above = self.parent
        while isinstance(above, Job) or ICallbackProxy.providedBy(above):
            above = above.parent
        return above if IAgent.providedBy(above) else None

    @property
    def status(self):
        """See ``interfaces``; computed from the job and from where it is."""
        if self._status == FINISHED:
            return interfaces.COMPLETED
        if self._status == IN_CALLBACKS:
            return interfaces.CALLBACKS
        if self._status == BEGUN:
            return interfaces.ACTIVE
        above = self.parent
        while isinstance(above, Job) or ICallbackProxy.providedBy(above):
            above = above.parent
        if IAgent.providedBy(above):
            running = getattr(above, "is_running", None)
            if running is not None and running(self):
                return interfaces.ACTIVE
            return interfaces.ASSIGNED
        if not IQueue.providedBy(above):
            return interfaces.NEW
        if holds(above, self):
            return interfaces.QUARANTINED
        return interfaces.PENDING

    @property
    def result(self):
        """What was returned, a Failure, or the inner job that is waited for."""
        return self._result

    # What it waits for

    @property
    def quota_names(self) -> tuple:
        """Names of the quotas that it needs a place in."""
        return self._quota_names

    @quota_names.setter
    def quota_names(self, value):
        if isinstance(value, str):
            raise TypeError(
                f"quota_names is the string {value!r}: give a tuple of names, "
                f"({value!r},)"
            )
        self._require("quota_names", interfaces.NEW, interfaces.PENDING)
        names = tuple(value)
        queue = self.queue
        if queue is not None:
            queue.check_quota_names(names)
        self._quota_names = names
        if queue is not None:
            queue.replace(self)

    # Hooks for subclasses

    def setUp(self):
        """Called in the worker before each attempt, in the job's transaction.

        What it returns is given to ``tearDown``.
        """
        return None

    def tearDown(self, setup_info):
        """Called after the attempt's commit or abort."""

    def invoke(self, args: tuple, kwargs: dict):
        """Make the call; what it returns is the job's result."""
        call = self.callable
        value = call(*args, **context.with_context(call, kwargs))
        return coroutines.finish(value, local.control)

    def complete_work(self) -> None:
        """Called after the call, if the job shares its transaction with others.

        The place to do, in its surroundings, what else waits for the commit.
        """

    def begin_again(self) -> None:
        """Called when a loop of ``ctx.each`` has begun its next transaction."""

    def on_result(self, result) -> None:
        """Called in the transaction that stores the result, before its commit."""

    # Callbacks

    @property
    def callbacks(self) -> tuple:
        """The callbacks, in the order of adding."""
        return self._callbacks

    def addCallback(self, callback, failure_log_level=None, retry_policy_factory=None):
        """Run ``callback`` with the result; returns it as a job.

        When this job is completed the callback is run at once, in this
        thread, which commits the caller's transaction, as in zc.async.
        """
        added = adopt(self, callback, failure_log_level, retry_policy_factory)
        self._callbacks = (*self._callbacks, added)
        if self._status == FINISHED:
            run.call_late_callback(self, added)
        return added

    def addCallbacks(
        self,
        success=None,
        failure=None,
        failure_log_level=None,
        retry_policy_factory=None,
    ):
        """Run ``success`` or ``failure`` with the result; returns a proxy."""
        proxy = SuccessFailureCallbackProxy(
            success,
            failure,
            failure_log_level=failure_log_level,
            retry_policy_factory=retry_policy_factory,
        )
        return self.addCallback(proxy)

    # Running

    def getRetryPolicy(self):
        """Its retry policy, made and kept at the first call."""
        if self._retry_policy is None:
            self._retry_policy = retry.make_policy(self)
        return self._retry_policy

    def __call__(self, *args, **kwargs):
        """See IJob. Returns the result, or the job itself when it is put off."""
        if self.status not in (interfaces.NEW, interfaces.ASSIGNED):
            raise BadStatusError(f"cannot call a job in status {self.status}")
        return run.call_by_hand(self, args, kwargs)

    def fail(self, e: BaseException | None = None) -> None:
        """See IJob; commits. Does not take the job out of its queue."""
        if self._status in (BEGUN, FINISHED):
            raise BadStatusError(f"cannot fail a job in status {self.status}")
        if self._status == NOT_BEGUN:
            run.fail(self, e or interfaces.TimeoutError())
        if self._status == IN_CALLBACKS:
            run.run_callbacks(self)

    def resumeCallbacks(self) -> None:
        """See IJob."""
        if self._status != IN_CALLBACKS:
            raise BadStatusError(
                f"cannot resume the callbacks of a job in status {self.status}"
            )
        run.run_callbacks(self)

    def cancel(self, by: str | None = None, reason: str | None = None) -> str:
        """Withdraw it if it waits, or ask it to stop; see ``IQueue.cancel``.

        BadStatusError if it is in no queue.
        """
        if self._status < IN_CALLBACKS and self.queue is None:
            raise BadStatusError(f"{self!r} is in no queue: there is nothing to cancel")
        queue = self.queue
        return cancelling.LATE if queue is None else queue.cancel(self, by, reason)

    def retry(self) -> None:
        """Run it once more, though it has failed for good; see ``retrying.retry``."""
        retrying.retry(self)

    @property
    def endings(self) -> tuple:
        """How it ended before it was retried by hand, oldest first."""
        return self._endings

    @property
    def cancel_requested(self) -> bool:
        """Whether it should stop; true only in the thread that runs it."""
        control = local.control
        return control is not None and local.job is self and control.cancel is not None

    def handleInterrupt(self) -> None:
        """See IJob."""
        if self._status == IN_CALLBACKS:
            run.run_callbacks(self)
            return
        if self.status != interfaces.ACTIVE:
            raise BadStatusError(f"a job in status {self.status} is not interrupted")
        run.handle_interrupt(self)

    def settle(self, result) -> None:
        """Store the result, in the transaction of the caller."""
        self._result = result
        self._deferred = False
        self._active_end = clock.now_us()
        self.waits_for = None
        if not isFailure(result):
            # Of a failed job they say what is in the database, and where to go on.
            self._cursors = None
        try:
            self.on_result(result)
        except TransactionError:
            raise
        except Exception:
            # The hook is the application's, and must not keep a job from ending.
            log.critical("on_result of %s failed", repr(self), exc_info=True)
        self._status = IN_CALLBACKS if self._callbacks else FINISHED

    def wait_for(self, inner: Job) -> None:
        """Stay active until ``inner``, which the callable returned, is done.

        Raises ValueError if that one is this job, or waits for it.
        """
        if same(inner, self) or any(same(inner, job) for job in self.waiting_for_it()):
            raise ValueError(f"{self!r} would wait for itself: it returned {inner!r}")
        self._result = inner
        self._status = BEGUN
        inner._outer = self
        inner.addCallback(Job(self.inner_done))

    def wait_for_deferred(self) -> None:
        """Stay active until the Deferred fires that the callable returned.

        Raises ValueError for a job that is not stored.
        """
        if self._p_oid is None:
            raise ValueError(
                f"{self!r} returned a Deferred, but is not stored, so its result could "
                "not be stored either: add it to the database before calling it"
            )
        self._result = None
        self._status = BEGUN
        self._deferred = True

    def waiting_for_it(self) -> Iterator[Job]:
        """The job that waits for this one, the one that waits for that, and so on."""
        outer = self._outer
        while outer is not None:
            yield outer
            outer = outer._outer

    def inner_done(self, result) -> None:
        """Callback of the inner job: its result becomes this job's."""
        if self._status == BEGUN and isinstance(self._result, Job):
            self.settle(result)
        run.report_finished(self)

    @property
    def is_waiting(self) -> bool:
        """Whether it was begun and waits for an inner job."""
        return self._status == BEGUN and isinstance(self._result, Job)

    def put_off(self, begin_after: int | None, reason: str | None = None) -> None:
        """Make it wait again: at once, or until ``begin_after`` (microseconds)."""
        if IAgent.providedBy(self._parent):
            # It was stored as active.
            self._parent = self._parent.queue
        self._status = NOT_BEGUN
        self._result = None
        self._deferred = False
        self._active_start = None
        self.attempt += 1
        self._tries += 1
        self.waits_for = reason
        if begin_after is not None:
            self._begin_after = begin_after

    def abort_next(self) -> None:
        """Let the next worker that gets it fail it with an AbortedError."""
        self._aborting = True

    @property
    def aborted(self) -> Failure | None:
        """The failure that a job ends with when it may not be tried again."""
        if not self._aborting:
            return None
        return Failure(
            AbortedError(
                f"its process ended or lost it {self._tries} times, and its retry "
                "policy allows no further attempt"
            )
        )

    def __repr__(self) -> str:
        try:
            return run.describe(self)
        except Exception:
            # A repr is used in logs of errors: it must not be one itself.
            return f"<{type(self).__module__}.{type(self).__name__} (unreadable)>"


def __getattr__(name: str):
    # Where zc.async has them; ``compose`` itself needs this module.
    if name in ("serial", "parallel"):
        from . import compose

        return getattr(compose, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
