"""One job's attempts, up to the one commit that ends them.

An attempt in a worker has one commit::

    begin   the job's record is read and compared with the claim
    run     setUp, the callable; in memory the job is ACTIVE
    commit  effects + result + status, and nothing that anybody else writes

If that commit conflicts because the job itself changed hands, the work is
thrown away: whoever has it now runs it. That comparison and that conflict are
the fence which keeps two workers from both landing one job.
"""

from __future__ import annotations

from . import callables
from . import clock
from . import endlog
from . import objectids
from .base import identity
from .commit import explained
from .commit import EXPLOSIVE_ERRORS
from .commit import log
from .commit import never_fail
from .commit import pause
from .commit import SYSTEM_ERRORS
from .commit import TakenId
from .commit import trace
from .commit import wait_for_system_recovery
from .deferred import expect
from .deferred import is_deferred
from .errors import CancelledError
from .failure import Failure
from .failure import isFailure
from .interfaces import ICallbackProxy
from .interfaces import IJob
from .interfaces import ReassignedError
from .interfaces import UnresolvableError
from .outcomes import conclude
from .outcomes import Outcome
from .outcomes import RetryAfter
from .retry import ask
from .retry import make_policy
from .returning import due_of
from .returning import manager
from .returning import return_to_queue
from .threadlocal import local
from datetime import datetime
from datetime import timedelta
from transaction.interfaces import TransactionError

import logging
import random


#: What became of a run.
DONE = "done"
WAITING = "waiting"
DEFERRED = "deferred"
#: Somebody else's by now, or gone.
LOST = "lost"
PUT_OFF = "put off"
UNRESOLVABLE = "unresolvable"

#: Microseconds until a job whose code is missing is looked at again; doubled
#: each time, up to the longest.
UNRESOLVABLE_FIRST = 60_000_000
UNRESOLVABLE_MAX = 1_800_000_000

#: Seconds: half the longest pause after a first conflict; doubled each time.
CONFLICT_PAUSE = 0.005

#: Seconds that a callback waits at most for the time that its policy named.
LONGEST_CALLBACK_PAUSE = 60


class Run:
    """One job being run to its end, or to where it waits.

    ``claimed_attempt`` is the attempt that the dispatcher claimed; None for a
    job called by hand and for callbacks. ``agent`` is the claiming agent.
    """

    def __init__(self, job, args=(), kwargs=None, claimed_attempt=None, agent=None):
        self.job = job
        self.args = args
        self.kwargs = kwargs or {}
        self.claimed_attempt = claimed_attempt
        #: The job's number at the begin; another one says that it changed hands.
        self.attempt = job.attempt if claimed_attempt is None else claimed_attempt
        self.agent = agent
        self.tm = manager(job)
        #: The connection that holds the job; None for one that is not stored.
        self.jar = job._p_jar
        self.started = clock.now_us()
        #: What its function asks for by ``ctx``; made when it does.
        self.context = None
        #: What others want of it, if it is a worker's.
        self.control = None
        #: The policy's memory during this run.
        self.data: dict = {"first_active": clock.now()}
        self.policy = None
        self.conflicts = 0

    def go(self) -> str:
        """Run it; returns DONE, WAITING, DEFERRED, PUT_OFF or UNRESOLVABLE.

        Raises ReassignedError when the job is somebody else's by now.
        """
        outcome = None
        while outcome is None:
            outcome = self._attempt()
        return outcome

    def _attempt(self) -> str | None:
        job = self.job
        setup_info = None
        previous, local.job = local.job, job
        outer, local.run, self.context = local.run, self, None
        control = self.control = local.control if outer is None else None
        if control is not None:
            self._begin_in(control)
        try:
            self._begin()
            if control is not None:
                # One that is about to be tried again does not have to be asked.
                control.check()
            try:
                self._check_resolvable()
            except UnresolvableError as error:
                return self._put_aside(error)
            setup_info = job.setUp()
            result = job.invoke(
                (*job._args, *self.args), {**(job._kwargs or {}), **self.kwargs}
            )
            if control is not None:
                control.check_timeout()
                control.lift_timeout()
        except EXPLOSIVE_ERRORS:
            self.tm.abort()
            raise
        except Outcome as outcome:
            return self._asked(outcome)
        except CancelledError as error:
            return self._asked(error)
        except Exception as error:
            # Whatever a job raises is its result, or a reason to try again.
            return self._went_wrong(Failure(explained(error, committing=False)))
        else:
            return self._finish(result)
        finally:
            local.job, local.run = previous, outer
            self._tear_down(setup_info)

    def _begin_in(self, control) -> None:
        timeout = self.job._timeout
        callback = identity(self.job) if self.claimed_attempt is None else None
        control.begin_attempt(None if timeout is None else timeout / 1e6, callback)

    def settle_in_group(self) -> bool:
        """Run the job up to its commit, which it shares; whether that is enough.

        If not, the caller has to roll back what it did, and run it alone.
        """
        job = self.job
        setup_info = None
        local.job, local.run, self.context = job, self, None
        try:
            self._begin()
            self._check_resolvable()
            setup_info = job.setUp()
            result = job.invoke(job._args, job._kwargs or {})
            if isinstance(result, Outcome) or not _is_plain(result):
                return False
            job.complete_work()
            self._settle(result)
            return True
        except BaseException:
            # Told apart, and told of, when it has failed alone.
            trace(logging.INFO, "%s is to be run alone", job)
            return False
        finally:
            local.job = local.run = None
            self._tear_down(setup_info)

    def _begin(self) -> None:
        # Compared in the very transaction that does the work.
        self._assert_owned()
        self._mark()

    def _mark(self) -> None:
        self.job._status = 1
        self.job._active_start = self.started
        self.job._deferred = False
        if self.agent is not None:
            self.job._parent = self.agent

    def _check_resolvable(self) -> None:
        job = self.job
        callables.join(job._callable, job._method)
        for position, value in enumerate(job._args):
            callables.refuse_broken(f"argument {position}", value)
        for name, value in (job._kwargs or {}).items():
            callables.refuse_broken(f"argument {name}", value)

    def _tear_down(self, setup_info) -> None:
        try:
            self.job.tearDown(setup_info)
        except Exception:
            # The job is settled; an error here must not change that.
            log.critical("tearDown of %s failed", repr(self.job), exc_info=True)

    def _finish(self, result) -> str | None:
        try:
            outcome = self._settle(result)
            self.tm.commit()
        except EXPLOSIVE_ERRORS:
            self.tm.abort()
            raise
        except Exception as error:
            # Anything may be raised by a commit: conflicts, vetoes of other
            # data managers, values that cannot be pickled.
            failure = Failure(explained(error, committing=True))
            return self._went_wrong(failure, at_commit=True, original=result)
        if outcome == DEFERRED:
            self._expect(result)
        else:
            self.log_result(result)
        return outcome

    def _asked(self, asked: Outcome | CancelledError) -> str:
        """Do what the job asked for by raising, without what it wrote."""
        self.tm.abort()
        self.tm.begin()
        result = asked if isinstance(asked, Outcome) else Failure(asked)

        def settle() -> str:
            self._begin()
            return self._settle(result)

        settled = never_fail(settle, f"settling {self.job!r}", self.tm)
        self.log_result(result)
        return settled

    def _conclude(self, outcome: Outcome) -> str:
        job = self.job
        by_hand = self.claimed_attempt is None
        if isinstance(outcome, RetryAfter) and self.policy is None:
            self.policy = job.getRetryPolicy()
        failure = conclude(job, outcome, self.policy, self.data, self._can_wait)
        self._keep_policy()
        if failure is not None:
            job.settle(failure)
            return DONE
        if by_hand:
            return_to_queue(job)
        return PUT_OFF

    def _settle(self, result) -> str:
        job = self.job
        if job.attempt != self.attempt:
            raise ReassignedError(repr(job))
        if job._active_start != self.started:
            # The function has ended the transaction that it was called in.
            self._mark()
        if isinstance(result, Outcome):
            return self._conclude(result)
        self._keep_policy()
        if self.context is not None:
            self.context.keep_report(isFailure(result))
        if IJob.providedBy(result):
            if result._status != 3:
                job.wait_for(result)
                return WAITING
            result = result._result
        if is_deferred(result):
            job.wait_for_deferred()
            return DEFERRED
        job.settle(result)
        return DONE

    def _keep_policy(self) -> None:
        if self.policy is not None:
            ask(self.policy, "updateData", self.data)
            self.job._retry_policy = self.policy

    def _went_wrong(
        self, failure: Failure, at_commit: bool = False, original=None
    ) -> str | None:
        self.tm.abort()
        if self.control is not None:
            self.control.lift_timeout()
        if failure.check(TakenId) and self.jar is not None:
            objectids.start_over(self.jar)
        self.tm.begin()
        if self._look(self._landed):
            return self._landed_as(original)
        decision = self._ask(failure, at_commit)
        # The policy may have waited: look at the database of now.
        self.tm.abort()
        self.tm.begin()
        if decision is True:
            self._keep_apart(failure)
            self._look(self._assert_owned)
            return None
        if isinstance(decision, datetime | timedelta):
            if self._is_callback:
                return self._wait_here(decision)
            if self._can_wait:
                return never_fail(
                    lambda: self._put_off(decision),
                    f"putting off {self.job!r}",
                    self.tm,
                )
        if at_commit:
            endlog.tell_of_lost(self.job, original)
        never_fail(
            lambda: self._settle_failure(failure), f"failing {self.job!r}", self.tm
        )
        self.log_result(failure)
        return DONE

    def _keep_apart(self, failure: Failure) -> None:
        """Keep jobs that conflict with each other from meeting again at once."""
        if failure.check(TransactionError) and not failure.check(*SYSTEM_ERRORS):
            self.conflicts += 1
            pause(random.uniform(0, CONFLICT_PAUSE * 2 ** min(self.conflicts, 8)))

    def _look(self, question):
        """Ask about the job in a new transaction, once the storage answers."""
        answer = wait_for_system_recovery(question, f"reading {self.job!r}", self.tm)
        self.tm.begin()
        if isFailure(answer):
            answer.raiseException()
        return answer

    def _landed(self) -> bool:
        """Whether this run's commit arrived although its answer was lost.

        Raises ReassignedError if the job is not this run's any more.
        """
        self._assert_stored()
        job = self.job
        settled = job._status >= 2 or job.is_waiting or job._deferred
        started = (self.attempt, self.started)
        if settled and (job.attempt, job._active_start) == started:
            return True
        self._assert_owned()
        return False

    def _landed_as(self, result) -> str:
        if self.job._deferred:
            self._expect(result)
            return DEFERRED
        return WAITING if self.job.is_waiting else DONE

    def _expect(self, deferred) -> None:
        mine = self.claimed_attempt is not None
        expect(self.job, deferred, self.control if mine else None)
        if self.control is not None:
            # What it waits for belongs to the attempt, too.
            self.control.count_on()

    def _assert_stored(self) -> None:
        """Raise ReassignedError if the connection has let go of the job.

        It does so if a commit failed on an id that is the job's. What is done
        to the object from then on is stored nowhere; its record waits for
        somebody who reads it again.
        """
        if self.jar is not None and self.job._p_jar is None:
            log.error("a job was lost from memory: its work here is thrown away")
            raise ReassignedError("a new object was given the id of the job")

    def _assert_owned(self) -> None:
        self._assert_stored()
        job = self.job
        if job.attempt != self.attempt:
            mine = False
        elif self.claimed_attempt is None:
            mine = job._status in (0, 1)
        elif job.is_waiting or job._deferred:
            mine = False
        else:
            # A function that commits in the middle stores that it is active.
            mine = job._status == 0 or (
                job._status == 1 and job._active_start == self.started
            )
        if not mine:
            log.error("%s was reassigned: its work here is thrown away", repr(job))
            raise ReassignedError(repr(job))

    def _ask(self, failure: Failure, at_commit: bool):
        if self.policy is None:
            what = f"getting the retry policy of {self.job!r}"
            self.policy = never_fail(self._find_policy, what, self.tm)
            self.tm.begin()
        question = "commitError" if at_commit else "jobError"
        return ask(self.policy, question, failure, self.data)

    def _find_policy(self):
        # Kept by the commit that ends the attempt, and not by one more.
        made = self.job._retry_policy
        return make_policy(self.job) if made is None else made

    def _settle_failure(self, failure: Failure) -> None:
        self._begin()
        self._settle(failure)

    @property
    def _is_callback(self) -> bool:
        above = self.job._parent
        return IJob.providedBy(above) or ICallbackProxy.providedBy(above)

    @property
    def _can_wait(self) -> bool:
        """Whether it has a place where it can wait for another attempt."""
        in_queue = self.claimed_attempt is not None or self.job.queue is not None
        return in_queue and not self._is_callback

    def _wait_here(self, decision) -> None:
        """Wait in this thread: a callback has no place of its own to wait in."""
        due = due_of(decision)
        if due is not None:
            pause(min((due - clock.now_us()) / 1e6, LONGEST_CALLBACK_PAUSE))
        self.tm.begin()
        self._look(self._assert_owned)

    def _put_off(self, decision) -> str:
        self._assert_owned()
        self._keep_policy()
        self.job.put_off(due_of(decision))
        if self.claimed_attempt is None:
            return_to_queue(self.job)
        return PUT_OFF

    def _put_aside(self, error: UnresolvableError) -> str:
        self.tm.abort()
        self.tm.begin()
        if not self._can_wait:
            never_fail(
                lambda: self._settle_failure(Failure(error)), str(error), self.tm
            )
            self.log_result(self.job._result)
            return DONE
        log.error("%s waits: %s", repr(self.job), error)

        def put_aside():
            self._assert_owned()
            job = self.job
            wait = UNRESOLVABLE_FIRST * 2 ** min(job.attempt, 10)
            due = clock.now_us() + min(wait, UNRESOLVABLE_MAX)
            job.put_off(due, reason=str(error))
            if self.claimed_attempt is None:
                return_to_queue(job)

        never_fail(put_aside, f"putting aside {self.job!r}", self.tm)
        return UNRESOLVABLE

    def log_result(self, result) -> None:
        """Tell the logs what became of it."""
        endlog.tell(self.job, result)


def _is_plain(result) -> bool:
    return not (isFailure(result) or IJob.providedBy(result) or is_deferred(result))
