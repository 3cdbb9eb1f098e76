"""What a dispatcher does for one of its agents: claim, sweep, give signs of life.

One commit holds a claim together with the sweep of what was finished since
the last one, so a busy agent needs one such commit for many jobs.
"""

from __future__ import annotations

from . import clock
from . import retention
from .base import database_name
from .base import identity
from .cancelling import has_requests
from .cancelling import heed
from .claims import Claim
from .commit import log
from .deaths import seconds_alone
from .errors import JobTimeoutError
from .givingup import end_overdue
from .groups import MOST_IN_GROUP
from .pool import AgentThreadPool
from .pool import MOST
from .pool import Ticket
from .presence import IDLE_PING_FACTOR
from .returning import end_from_outside
from .rounds import Rounds
from .sweeping import sweep
from .sweeping import UNSTARTED
from transaction.interfaces import TransactionError

import logging


#: What became of a job that was ended without its thread.
GIVEN_UP = "given up"
#: Seconds past its timeout in which a job may stop by itself.
GRACE = 5
#: Reports that gather at most before they are swept.
SWEPT_AT_ONCE = 32
#: Seconds that a report waits at most for a claim to be swept with.
SWEEP_DELAY = 0.2
#: Seconds between two claims of which the first did not look at all that waits.
LOOK_ON_AFTER = 0.05
#: Seconds after which a running job is shown to observers, and between two
#: such reports.
SHOWN_AFTER = 0.4
SHOWN_EVERY = 0.5


class Station:
    """One agent of one queue, in this process."""

    def __init__(self, dispatcher, agent_name: str, pool: AgentThreadPool):
        self.dispatcher = dispatcher
        self.agent_name = agent_name
        self.pool = pool
        self._looked_at: tuple = ()
        self._last_look = 0.0
        self._more = True
        #: Whether it may claim at present, if there is room.
        self._may_claim = True
        #: Whether there are requests for a cancel, which are looked after soon.
        self._is_asked = False
        self._rounds = Rounds()
        self._due: int | None = None
        self._reported_at: float | None = None
        self._shown: tuple = ()
        self._shown_at = 0.0
        #: Whether a claim may have been committed without an answer.
        self._in_doubt = False
        #: When it last pinged; activating was a ping.
        self._pinged_at = clock.monotonic()

    def __repr__(self) -> str:
        return f"<Station {self.pool.queue!r} {self.agent_name!r}>"

    def serve(self, queue, agents) -> float:
        """Do what is due; returns seconds until something is due again.

        Commits; raises ConflictError when somebody else was faster.
        """
        pool = self.pool
        if pool.is_stuck():
            pool.withdraw()
        self._attend(queue, agents)
        halted = (
            queue.paused
            or agents[self.agent_name].paused
            or self.dispatcher.stopping.is_set()
        )
        if halted:
            pool.withdraw()
        self._may_claim = not (halted or self.dispatcher.is_reserved())
        wanted = pool.wanted() if self._may_claim else 0
        reports, outer = pool.take_reports()
        due = self._sweep_is_due(reports, outer)
        if (wanted and self._has_news()) or due or self._in_doubt:
            try:
                with self.dispatcher.claim_lock.held():
                    self._claim(queue, agents, wanted, reports, outer, due)
            except TransactionError:
                # What it looked at is still to be claimed.
                self._looked_at = ()
                raise
        self._show(agents)
        self._ping(agents)
        return self._wait()

    def _attend(self, queue, agents) -> None:
        """Pass cancels on, and end jobs that do not stop at their timeout."""
        overdue = self.pool.overdue(GRACE)
        self._is_asked = has_requests(queue)
        if not overdue and not self._is_asked:
            return
        tm = self.dispatcher.tm
        tm.begin()
        agent = agents[self.agent_name]
        written, threadless = heed(queue, agent, self.pool)
        ended = [(identity(job), error, False) for job, error in threadless]
        for ticket, callback in overdue:
            if callback is None:
                error = JobTimeoutError(ticket.timeout)
                ended.append((ticket.identity, error, True))
        claims = self._end(queue, agent, ended, overdue)
        if written or claims:
            tm.commit()
            for claim in claims:
                self.dispatcher.history.jobs.given_up(claim)
                self.pool.give_up(claim)

    def _end(self, queue, agent, ended: list, overdue: list) -> list[tuple]:
        """End these jobs, and callbacks that are overdue, without their threads.

        Returns the claims of these jobs, and of those that have the callbacks.
        """
        reports = {}
        for wanted, error, may_retry in ended:
            for job, attempt, _key in agent.claims.entries:
                if identity(job) == wanted and job.attempt == attempt:
                    if job._status < 2:
                        level = logging.INFO if not may_retry else logging.ERROR
                        log.log(level, "%s is given up: %s", repr(job), error)
                        end_from_outside(job, error, agent, may_retry)
                        reports[(*wanted, attempt)] = GIVEN_UP
        for job, attempt, _key in agent.claims.entries:
            for ticket, callback in overdue:
                mine = (*identity(job), attempt) == ticket.claim
                if mine and callback is not None and end_overdue(job, callback):
                    reports[ticket.claim] = GIVEN_UP
        sweep(queue, agent, reports, [], clock.now_us())
        return list(reports)

    def _has_news(self) -> bool:
        dispatcher = self.dispatcher
        if self._more or not dispatcher.waker.tells:
            return True
        if self._due is not None and self._due <= clock.now_us():
            return True
        if clock.monotonic() - self._last_look >= dispatcher.poll_interval:
            return True
        return self._looked_at != dispatcher.waker.last_transactions()

    def _sweep_is_due(self, reports: dict, outer: list) -> bool:
        if not reports and not outer:
            self._reported_at = None
            return False
        now = clock.monotonic()
        if self._reported_at is None:
            self._reported_at = now
        if len(reports) >= max(SWEPT_AT_ONCE, self.pool.most // 2) or outer:
            return True
        if any(outcome != "done" for outcome in reports.values()):
            return True
        return now - self._reported_at >= SWEEP_DELAY

    def _claim(self, queue, agents, wanted: int, reports, outer, due: bool) -> None:
        tm = self.dispatcher.tm
        self._looked_at = self.dispatcher.waker.last_transactions()
        self._last_look = clock.monotonic()
        tm.begin()
        agent = agents[self.agent_name]
        if agents.boot != self.dispatcher.boot or not agents.activated:
            # Taken for dead meanwhile: what we hold is somebody else's, and
            # the next poll enters the queue anew.
            self.pool.forget(reports, outer)
            return
        now = clock.now_us()
        jar = queue._p_jar
        outer_jobs = [jar.get_connection(name).get(oid) for oid, name in outer]
        orphans = self._orphans(agent)
        sweep(queue, agent, {**reports, **orphans}, outer_jobs, now)
        held = agent.claims.entries
        runs, changed = self._take(queue, agent, wanted, now)
        if not (runs or changed or due or orphans):
            tm.abort()
            self._in_doubt = False
            return
        if self._ping_is_due(agents):
            agents.ping.at = max(now, agents.ping.at + 1)
            self._pinged_at = clock.monotonic()
        self._in_doubt = True
        tm.commit()
        self._in_doubt = False
        self.pool.forget(reports, outer)
        self._reported_at = None
        if runs:
            tickets = [[ticket_of(entry, agent) for entry in run] for run in runs]
            self.dispatcher.history.claimed(self.pool, held, sum(tickets, []))
            self.pool.submit(tickets, self._more or len(sum(runs, [])) >= wanted)

    def _orphans(self, agent) -> dict:
        """Claims that the pool knows nothing of, to be given back.

        They are of a commit whose answer was lost.
        """
        known = self.pool.known()
        orphans = {}
        for job, attempt, _key in agent.claims.entries:
            claim = (*identity(job), attempt)
            if claim not in known:
                orphans[claim] = UNSTARTED
        return orphans

    def _take(self, queue, agent, wanted: int, now: int) -> tuple[list, bool]:
        if not wanted:
            self._more = True
            return [], False
        if agent.chooser is not None:
            return self._choose(agent, wanted)
        run_length = min(wanted, MOST // 4) if wanted > self.pool.size else 1
        self._rounds.use(agent.filter)
        claim = Claim(
            queue,
            agent.accepts,
            wanted,
            now,
            run_length,
            self._rounds,
            self.dispatcher.may_begin,
            group_length=min(-(-wanted // self.pool.size), MOST_IN_GROUP),
        )
        runs = claim.take()
        self._more = claim.more
        if runs:
            agent.hold([entry for run in runs for entry in run])
        if claim.finished:
            retention.file(queue, agent, [(job, None) for job in claim.finished])
        self._due = queue.next_due()
        return runs, claim.changed

    def _choose(self, agent, wanted: int) -> tuple[list, bool]:
        runs = []
        while len(runs) < wanted:
            job = agent.claimJob()
            if job is None:
                break
            runs.append([agent.claims.entries[-1]])
        self._more = False
        return runs, bool(runs)

    # Signs of life

    def _show(self, agents) -> None:
        """Let observers in other processes see which jobs are running."""
        now = clock.monotonic()
        if now - self._shown_at < SHOWN_EVERY:
            return
        running = self.pool.running_for(SHOWN_AFTER)
        if running == self._shown:
            return
        tm = self.dispatcher.tm
        tm.begin()
        agents[self.agent_name].activity.running = running
        tm.commit()
        self._shown = running
        self._shown_at = now

    def _ping(self, agents) -> None:
        if not self._ping_is_due(agents, IDLE_PING_FACTOR if self.pool.idle else 1):
            return
        tm = self.dispatcher.tm
        tm.begin()
        agents.ping.at = max(clock.now_us(), agents.ping.at + 1)
        tm.commit()
        self._pinged_at = clock.monotonic()

    def _ping_is_due(self, agents, factor: int = 1) -> bool:
        interval = agents.ping_interval.total_seconds() * factor
        return clock.monotonic() - self._pinged_at >= interval

    def _wait(self) -> float:
        """Seconds until a timer of this station is due."""
        wait = self.dispatcher.poll_interval
        gathers = self.pool.gathers_for()
        if gathers:
            wait = min(wait, gathers)
        elif self._may_claim and self.pool.wanted():
            if self._more:
                wait = min(wait, LOOK_ON_AFTER)
            if self._due is not None:
                wait = min(wait, max(0.0, (self._due - clock.now_us()) / 1e6))
        if self._is_asked or self._reported_at is not None or not self.pool.idle:
            wait = min(wait, SWEEP_DELAY)
        return wait

    def last_sweep(self, queue, agent) -> None:
        """At the end: sweep what is known, and name what is still running."""
        reports, outer = self.pool.take_reports()
        jar = queue._p_jar
        outer_jobs = [jar.get_connection(name).get(oid) for oid, name in outer]
        sweep(queue, agent, reports, outer_jobs, clock.now_us())
        running = self.pool.running_for(0)
        if running != agent.activity.running:
            agent.activity.running = running


def ticket_of(entry: tuple, agent) -> Ticket:
    """What is handed to a pool for an entry of the agent's claims."""
    job, attempt, _key = entry
    return Ticket(
        job._p_oid,
        database_name(job),
        attempt,
        agent._p_oid,
        database_name(agent),
        alone=seconds_alone(job),
        groupable=job._groupable and not job._suspect,
        timeout=None if job._timeout is None else job._timeout / 1e6,
    )
