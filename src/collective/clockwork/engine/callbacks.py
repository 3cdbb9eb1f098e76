"""Callback proxies: which callback runs is decided when the result is known."""

from __future__ import annotations

from .base import Base
from .failure import isFailure
from .interfaces import ICallbackProxy
from .interfaces import IJob
from .interfaces import NEW
from .retry import callback_retry_policy_factory
from zope.interface import implementer

import logging


def pass_through(result):
    """Stands in for a callback that was not given: hands on what it got.

    zc.async handed on a tuple, so that a failure handler chained behind a
    missing one was never called.
    """
    return result


def as_job(item):
    """``item`` if it is a job, its IJob adapter, or a new job that calls it.

    Raises TypeError or ValueError for what cannot be a job.
    """
    # Which itself needs this module.
    from .job import Job

    job = IJob(item, None)
    return Job(item) if job is None else job


def adopt(parent, callback, failure_log_level=None, retry_policy_factory=None):
    """The callback as a job or proxy below ``parent``.

    What is given wins over what the callback says; where neither says
    anything, a failing callback is critical and is tried again for ever.
    """
    added = callback if ICallbackProxy.providedBy(callback) else as_job(callback)
    added.parent = parent
    if failure_log_level is not None:
        added.failure_log_level = failure_log_level
    if retry_policy_factory is not None:
        added.retry_policy_factory = retry_policy_factory
    if added.failure_log_level is None:
        added.failure_log_level = logging.CRITICAL
    if added.retry_policy_factory is None:
        added.retry_policy_factory = callback_retry_policy_factory
    return added


@implementer(ICallbackProxy)
class ConditionalCallbackProxy(Base):
    """``ConditionalCallbackProxy((condition, job), ..., default)``.

    The conditions are called with the result, in order; the job of the first
    that is true is run, even if it is None, which stands for handing the
    result on. The last positional argument may be a default without condition.
    """

    #: Pairs of (condition, job or None); fixed when made.
    conditions: tuple = ()
    default = None
    failure_log_level: int | None = None
    retry_policy_factory: object = None
    #: The chosen job; written by the run of the callback.
    job = None
    #: Callbacks added before the choice; the chosen job gets them, as often as one is
    #: chosen.
    _waiting: tuple = ()

    def __init__(self, *choices, failure_log_level=None, retry_policy_factory=None):
        self.failure_log_level = failure_log_level
        self.retry_policy_factory = retry_policy_factory
        pairs = []
        default = None
        for position, choice in enumerate(choices):
            if isinstance(choice, tuple):
                condition, job = choice
                pairs.append((condition, self._own(job)))
            elif position == len(choices) - 1:
                default = self._own(choice)
            else:
                raise TypeError(
                    f"argument {position} is {choice!r}: only the last one, the "
                    "default, may come without a condition"
                )
        self.conditions = tuple(pairs)
        self.default = default

    def _own(self, callback):
        if callback is None:
            return None
        return adopt(self, callback, self.failure_log_level, self.retry_policy_factory)

    def _choose(self, result):
        for condition, job in self.conditions:
            if condition(result):
                return job
        return self.default

    def getJob(self, result):
        """See ICallbackProxy."""
        if self.job is None:
            job = self._choose(result)
            if job is None:
                job = adopt(self, pass_through)
                job.failure_log_level = logging.DEBUG
            for callback in self._waiting:
                job.addCallback(callback)
            self.job = job
        return self.job

    @property
    def status(self):
        """The chosen job's; NEW before there is one."""
        return NEW if self.job is None else self.job.status

    @property
    def result(self):
        """The chosen job's; None before there is one."""
        return None if self.job is None else self.job.result

    @property
    def callbacks(self) -> tuple:
        """The chosen job's, or those that wait for the choice."""
        return self._waiting if self.job is None else self.job.callbacks

    @property
    def queue(self):
        """The queue of the job that this belongs to."""
        return None if self.parent is None else self.parent.queue

    @property
    def agent(self):
        """The agent of the job that this belongs to."""
        return None if self.parent is None else self.parent.agent

    def addCallback(self, callback, failure_log_level=None, retry_policy_factory=None):
        """See IAbstractJob."""
        if self.job is not None:
            return self.job.addCallback(
                callback, failure_log_level, retry_policy_factory
            )
        added = adopt(self, callback, failure_log_level, retry_policy_factory)
        self._waiting = (*self._waiting, added)
        return added

    def addCallbacks(
        self,
        success=None,
        failure=None,
        failure_log_level=None,
        retry_policy_factory=None,
    ):
        """See IAbstractJob."""
        return self.addCallback(
            SuccessFailureCallbackProxy(
                success,
                failure,
                failure_log_level=failure_log_level,
                retry_policy_factory=retry_policy_factory,
            )
        )


class SuccessFailureCallbackProxy(ConditionalCallbackProxy):
    """Chooses ``failure`` if the result is a Failure, else ``success``."""

    def __init__(
        self, success, failure, failure_log_level=None, retry_policy_factory=None
    ):
        super().__init__(
            (isFailure, failure),
            success,
            failure_log_level=failure_log_level,
            retry_policy_factory=retry_policy_factory,
        )

    @property
    def success(self):
        """What runs after a success; None to hand the result on."""
        return self.default

    @property
    def failure(self):
        """What runs after a failure; None to hand the failure on."""
        return self.conditions[0][1]
