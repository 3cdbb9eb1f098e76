"""What has to hold of jobs that processes die under, and of those that take too long.

The numbers are those of the invariants in the test's module.
"""

from __future__ import annotations

from collections import Counter as Count
from collective.clockwork.engine.deaths import KEPT
from collective.clockwork.engine.errors import JobTimeoutError
from collective.clockwork.engine.errors import QuarantinedError
from collective.clockwork.engine.failure import isFailure
from collective.clockwork.engine.interfaces import AbortedError
from collective.clockwork.engine.retry import RetryCommonFourTimes
from collective.clockwork.tests.engine.modeljobs import attempts


#: What a few examples have to come to, or they prove little.
GOALS = (
    "a job is set aside",
    "a released job has run",
    "a job has come back past its timeout",
    "a job is ended without its thread",
)


def allowed_deaths(job) -> int:
    """How many deaths that count a job may have without being set aside."""
    policy = job.retry_policy_factory or RetryCommonFourTimes
    return policy.max_interruptions


class Fates:
    """Who died of which job, and what people decided about those set aside."""

    def __init__(self):
        #: Oid and attempt of jobs that were begun on record and killed a process, to
        #: whether that had no other; None if it is hard to say.
        self.killed: dict[tuple[bytes, int], bool | None] = {}
        #: Oids of jobs that somebody discarded.
        self.discarded: set[bytes] = set()
        #: Oid to how often it was released by hand.
        self.released: Count = Count()
        #: What was seen, in words.
        self.seen: set[str] = set()
        #: Oid to how many deaths it had at least.
        self._known: Count = Count()

    def note_death(self, job, attempt: int, claims: list, running: list) -> None:
        """A process dies of a job, at the attempt that it claimed.

        ``claims`` is what it had of unfinished jobs as far as the database says,
        ``running`` what its threads were at.
        """
        if job.attempt != attempt or job not in claims:
            return
        if job._begun_attempt != attempt:
            assert not job.deaths, f"{job!r} is no suspect any more"
            return
        innocent = [other for other in claims if other is not job]
        alone = None if innocent else True
        if any(other in running and other._status < 2 for other in innocent):
            alone = False
            self.seen.add("a process dies of one job, and had others")
        self.killed[job._p_oid, attempt] = alone

    def check(self, job, is_aside: bool) -> None:
        """Compare a job of the database of now with what is known of it."""
        if job._deaths is not None:
            self._check_evidence(job)
        self._check_quarantine(job, is_aside)
        if job._status >= 2:
            self._check_failure(job)
            self._check_time(job)

    def _check_evidence(self, job) -> None:
        # 9
        oid, deaths = job._p_oid, job.deaths
        assert len(deaths) >= self._known[oid], f"{job!r}: deaths were forgotten"
        self._known[oid] = len(deaths)
        if len(deaths) == KEPT:
            return
        taken_back = [
            alone
            for (killer, attempt), alone in self.killed.items()
            if killer == oid and attempt < job.attempt
        ]
        assert len(deaths) >= len(taken_back), f"{job!r} has killed unseen"
        for alone in (True, False):
            found = [death for death in deaths if death.alone == alone]
            assert len(found) >= taken_back.count(alone), f"{job!r}: {deaths}"

    def _check_quarantine(self, job, is_aside: bool) -> None:
        # 9
        count = 0 if job._deaths is None else job._deaths.count
        allowed = allowed_deaths(job)
        if is_aside:
            assert count == allowed + 1, f"{job!r} is set aside after {count} deaths"
            assert not job._aborting, f"{job!r} is set aside, and to be failed"
            self.seen.add("a job is set aside")
            if self.released[job._p_oid]:
                self.seen.add("a released job is set aside again")
        elif job._status < 2:
            assert count <= allowed, f"{job!r} goes on after {count} deaths"
        elif self.released[job._p_oid] and not isFailure(job._result):
            self.seen.add("a released job has run")

    def _check_failure(self, job) -> None:
        # 9
        result = job._result
        failed = isFailure(result)
        was_discarded = failed and bool(result.check(QuarantinedError))
        assert was_discarded == (job._p_oid in self.discarded), f"{job!r}: {result!r}"
        assert not (failed and result.check(AbortedError)), f"{job!r}: {result!r}"
        if was_discarded:
            self.seen.add("a job that was set aside is discarded")

    def _check_time(self, job) -> None:
        # 10
        names = [argument for argument in job._args if isinstance(argument, str)]
        timed = attempts.get(names[0]) if names else None
        result = job._result
        if isFailure(result):
            if result.check(JobTimeoutError):
                took = job._active_end - timed[-1].began
                assert took >= job._timeout, f"{job!r} failed after {took} us"
                if timed[-1].ended is None:
                    self.seen.add("a job is ended without its thread")
                else:
                    self.seen.add("a job has come back past its timeout")
        elif timed and job._timeout is not None:
            in_time = any(each.lasted_less(job._timeout) for each in timed)
            assert in_time, f"{job!r} took longer than it may"
