"""The worker threads of one agent, and what they have been given to do.

The dispatcher hands over runs of claimed jobs and collects what became of
them; the threads touch nothing in the database but the jobs themselves.

A job that was given to the pool is, at any moment, in exactly one of ``_inbox``
and ``_tails`` (nobody began it), ``running``, and ``reports``.
"""

from __future__ import annotations

from . import clock
from . import retention
from .attempt import DEFERRED
from .attempt import DONE
from .attempt import LOST
from .base import identity
from .commit import log
from .coroutines import close_loop
from .performing import Overdue
from .performing import Running
from .performing import Ticket
from .run import follow_promises
from .sharing import Sharing
from .sweeping import UNSTARTED
from .switching import switch_often
from .threadlocal import local
from collections import deque
from dataclasses import replace

import threading
import transaction


#: Seconds of work that a pool keeps claimed ahead of its threads.
AHEAD = 0.1
#: Jobs that a pool keeps claimed at most.
MOST = 64
#: The same while they are groupable: short ones that cost a claim each would be slow.
MOST_GROUPABLE = 512
#: Seconds in which groupable jobs gather, behind a claim that left none waiting.
GATHERING = 0.1
#: Seconds after which claimed jobs that nobody begins go back.
GIVE_BACK_AFTER = 0.1
#: The same while they are groupable: these wait for the commits of others.
GIVE_BACK_GROUPABLE_AFTER = 1.0
#: Weight of the last job in the average duration.
SMOOTHING = 0.2


class AgentThreadPool(Sharing):
    """``size`` threads that run the jobs of one agent of one queue."""

    def __init__(self, dispatcher, queue: str, name: str, size: int):
        self.dispatcher = dispatcher
        self.queue = queue
        self.name = name
        self.size = 0
        #: Identity of a job to what became of it; taken by the dispatcher.
        self.reports: dict[tuple, str] = {}
        #: (oid, database) of other jobs that came to their end here.
        self.outer: list[tuple[bytes, str]] = []
        #: Thread name to Running.
        self.running: dict[str, Running] = {}
        #: Claim to Running, for jobs that wait for a Deferred.
        self.deferred: dict[tuple, Running] = {}
        self.threads: list[threading.Thread] = []
        #: When the last job was begun, or handed over to idle threads; on the
        #: monotonic clock.
        self.last_begin = clock.monotonic()
        self._inbox: deque[deque[Ticket]] = deque()
        #: What is left of runs that a thread is at; for that thread alone.
        self._tails: list[deque[Ticket]] = []
        self._changed = threading.Condition()
        self._wanted_threads = 0
        self._average: float | None = None
        #: Most jobs that it keeps claimed now; see MOST.
        self.most = MOST
        #: Until when nothing is claimed; on the monotonic clock.
        self._gathers_until = 0.0
        #: Identity of a job that nobody has begun to who cancelled it, and why.
        self._cancelled: dict[tuple, tuple] = {}
        #: Names of threads that were given up.
        self._lost: set[str] = set()
        self.set_size(size)

    def set_size(self, size: int) -> None:
        """Start threads, or let some end after the job that they are at."""
        with self._changed:
            self.size = size
            self._wanted_threads = size
            self.threads = [thread for thread in self.threads if thread.is_alive()]
            for _ in range(size - len(self.threads)):
                number = self.dispatcher.next_thread_number()
                thread = threading.Thread(
                    target=self._perform,
                    name=f"clockwork-{self.queue}-{self.name}-{number}",
                    daemon=True,
                )
                self.threads.append(thread)
                thread.start()
            self._changed.notify_all()

    # What the dispatcher asks

    @property
    def queued(self) -> int:
        """Jobs that no thread has begun."""
        with self._changed:
            return self._count_queued()

    def _count_queued(self) -> int:
        return sum(map(len, self._inbox)) + sum(map(len, self._tails))

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do."""
        with self._changed:
            return not (self._count_queued() or self.running or self.deferred)

    def ages(self, but: tuple) -> list[float]:
        """For how many seconds it has been running jobs other than the one named.

        That one, by its identity, it may still be at after it was taken away.
        """
        now = clock.monotonic()
        with self._changed:
            return [
                now - running.since
                for running in self._begun()
                if running.ticket.claim[:2] != but
            ]

    def is_reserved(self) -> bool:
        """Whether one of its jobs must be alone for now."""
        now = clock.monotonic()
        with self._changed:
            waiting = [*self._inbox, *self._tails]
            return any(ticket.alone for run in waiting for ticket in run) or any(
                now - running.since < running.ticket.alone for running in self._begun()
            )

    def _begun(self) -> list[Running]:
        return [*self.running.values(), *self.deferred.values()]

    def batch(self) -> int:
        """How many jobs to keep claimed: some moments' work for all threads."""
        average = self._average
        with self._changed:
            if self.running:
                # A job that is still running may be the first of its kind.
                now = clock.monotonic()
                youngest = min(
                    (now - running.since) / len(running.tickets)
                    for running in self.running.values()
                )
                average = max(average or 0.0, youngest)
        return self._batch_for(average)

    def _batch_for(self, average: float | None) -> int:
        if not average:
            return self.size
        return max(self.size, min(self.most, int(self.size * AHEAD / average)))

    def wanted(self) -> int:
        """How many more jobs to claim now; 0 while there is enough."""
        if self.gathers_for() > 0:
            return 0
        batch = self.batch()
        with self._changed:
            queued = self._count_queued()
            held = queued + sum(len(r.tickets) for r in self.running.values())
            room = self.size + self.most - held - len(self.deferred)
        if queued > batch // 4:
            return 0
        return max(0, min(batch - held, room))

    def take_reports(self) -> tuple[dict, list]:
        """What became of jobs since; to be given back with ``forget``."""
        with self._changed:
            return dict(self.reports), list(self.outer)

    def forget(self, reports: dict, outer: list) -> None:
        """These reports are taken care of."""
        with self._changed:
            for claim, outcome in reports.items():
                if self.reports.get(claim) == outcome:
                    del self.reports[claim]
            self.outer = [entry for entry in self.outer if entry not in outer]

    def known(self) -> set[tuple]:
        """All claims that it was given and that are not taken care of."""
        with self._changed:
            waiting = [*self._inbox, *self._tails]
            return {
                *(ticket.claim for run in waiting for ticket in run),
                *(t.claim for r in self.running.values() for t in r.tickets),
                *self.deferred,
                *self.reports,
            }

    def gathers_for(self) -> float:
        """For how many seconds it lets groupable jobs gather, claiming none."""
        return max(0.0, self._gathers_until - clock.monotonic())

    def submit(self, runs: list[list[Ticket]], more: bool = True) -> None:
        """Hand over claimed jobs; those of one run go to one thread, in order.

        ``more`` says whether there were others that wait.
        """
        groupable = all(ticket.groupable for run in runs for ticket in run)
        switch_often(groupable)
        with self._changed:
            self.most = MOST_GROUPABLE if groupable else MOST
            if groupable and not more:
                self._gathers_until = clock.monotonic() + GATHERING
            if not self._count_queued():
                # Threads that had nothing to do are not stuck.
                self.last_begin = clock.monotonic()
            for run in runs:
                self._inbox.append(deque(run))
            self._changed.notify(len(runs))

    def withdraw(self) -> None:
        """Report all that nobody has begun as unstarted."""
        with self._changed:
            for run in [*self._inbox, *self._tails]:
                for ticket in run:
                    self.reports[ticket.claim] = UNSTARTED
                run.clear()
            self._inbox.clear()
            self._tails.clear()
            self._cancelled.clear()

    def is_stuck(self) -> bool:
        """Whether claimed jobs wait behind long ones."""
        with self._changed:
            waiting = self._count_queued()
            limit = GIVE_BACK_AFTER if self.most == MOST else GIVE_BACK_GROUPABLE_AFTER
        return waiting > 0 and clock.monotonic() - self.last_begin > limit

    def running_for(self, seconds: float) -> tuple:
        """Jobs that run longer already, as an agent's activity names them."""
        limit = clock.monotonic() - seconds
        with self._changed:
            found = sorted(
                (ticket.activity, running.since_us)
                for running in self._begun()
                for ticket in running.tickets
                if running.since <= limit
            )
        return tuple(found)

    # What others want of its jobs

    def cancel(self, identity: tuple, by: str | None, reason: str | None) -> bool:
        """Ask a job to stop, or not to begin; whether it waits for a Deferred.

        Such a one has no thread that could be asked. Asking again does nothing.
        """
        with self._changed:
            for running in self.running.values():
                # Others of a group have their work behind them.
                if running.tickets[-1].identity == identity:
                    running.control.ask_to_cancel(by, reason)
            waiting = [*self._inbox, *self._tails]
            if any(ticket.identity == identity for run in waiting for ticket in run):
                self._cancelled[identity] = (by, reason)
            return any(claim[:2] == identity for claim in self.deferred)

    def overdue(self, grace: float) -> list[Overdue]:
        """What did not stop by ``grace`` seconds past its timeout."""
        with self._changed:
            late = [running.overdue(grace) for running in self._begun()]
        return [each for each in late if each is not None]

    def give_up(self, claim: tuple) -> None:
        """Forget a job that was ended without its thread, and replace the thread.

        What the thread still does to the database cannot be committed any more; it
        ends as soon as it comes back.
        """
        with self._changed:
            self.deferred.pop(claim, None)
            for name, running in list(self.running.items()):
                if running.ticket.claim == claim:
                    del self.running[name]
                    self._lost.add(name)
                    self.threads = [t for t in self.threads if t.name != name]
            wanted = self._wanted_threads
        if wanted:
            self.set_size(self.size)

    def stop(self, deadline: float) -> bool:
        """Let all threads end; whether they did by then (monotonic clock)."""
        switch_often(False)
        with self._changed:
            self._wanted_threads = 0
            self._changed.notify_all()
        for thread in list(self.threads):
            thread.join(max(0.0, deadline - clock.monotonic()))
        with self._changed:
            left = max(0.0, deadline - clock.monotonic())
            self._changed.wait_for(lambda: not self.deferred, left)
        return not any(thread.is_alive() for thread in self.threads)

    # In the threads

    def _perform(self) -> None:
        local.dispatcher = self.dispatcher
        local.agent_name = self.name
        local.stopping = self.dispatcher.stopping
        connection = self.dispatcher.db.open()
        try:
            while True:
                run = self._next_run()
                if run is None or not self._perform_run(connection, run):
                    return
        finally:
            transaction.abort()
            connection.close()
            close_loop()
            self.dispatcher.waker.set()

    def _next_run(self) -> deque | None:
        with self._changed:
            while True:
                if len(self.threads) > self._wanted_threads:
                    self.threads.remove(threading.current_thread())
                    return None
                if self._wanted_threads == 0:
                    return None
                if self._inbox:
                    run = self._inbox.popleft()
                    self._tails.append(run)
                    return run
                self._changed.wait()

    def _perform_run(self, connection, run: deque) -> bool:
        """Run these jobs; whether the thread may go on then."""
        name = threading.current_thread().name
        while True:
            with self._changed:
                if not run:
                    self._tails = [tail for tail in self._tails if tail is not run]
                    return True
                grouped = self._shares(run)
                if not grouped:
                    self.running[name] = running = self._begin_next(run)
                    self.last_begin = running.since
            if grouped:
                self._perform_group(connection, run)
                continue
            ticket = running.ticket
            try:
                outcome, outer = self._perform_job(connection, ticket, running.control)
            except BaseException:
                # Not the job: the database did not let it begin or end. The
                # thread must go on, and the job be given back.
                log.critical("%s could not be run", ticket, exc_info=True)
                outcome, outer = LOST, []
                self.dispatcher.stopping.wait(1)
            if not self._report(ticket, run, outcome, outer):
                return False
            follow_promises(self._report_deferred)

    def _begin_next(self, run: deque) -> Running:
        ticket = run.popleft()
        control = self.control_for(ticket)
        asked = self._cancelled.pop(ticket.identity, None)
        if asked is not None:
            control.ask_to_cancel(*asked)
            # That it is not begun then is seen to by what runs it alone.
            ticket = replace(ticket, groupable=False)
        return Running([ticket], clock.monotonic(), clock.now_us(), control)

    def _report(self, ticket, run: deque, outcome: str, outer: list) -> bool:
        """Note what became of a job; whether its thread is still wanted."""
        name = threading.current_thread().name
        with self._changed:
            self.outer.extend(outer)
            if name in self._lost:
                self._lost.discard(name)
                for rest in run:
                    self.reports[rest.claim] = UNSTARTED
                run.clear()
                self._tails = [tail for tail in self._tails if tail is not run]
                return False
            running = self.running.pop(name)
            if outcome == DEFERRED:
                self.deferred[ticket.claim] = running
            else:
                self.reports[ticket.claim] = outcome
            if outcome != DONE:
                # The order inside the quota would be lost if the rest went on.
                for rest in run:
                    self.reports[rest.claim] = UNSTARTED
                run.clear()
            self._note_duration(clock.monotonic() - running.since)
            call = self._is_running_out()
        if call or outcome != DONE:
            self.dispatcher.waker.set()
        return True

    def _note_duration(self, took: float) -> None:
        average = self._average
        if average is not None:
            took = average + SMOOTHING * (took - average)
        self._average = took

    def _is_running_out(self) -> bool:
        if self.gathers_for() > 0:
            return False
        return self._count_queued() <= self._batch_for(self._average) // 4

    def _report_deferred(self, claim: tuple, outcome: str, job, outer: list) -> None:
        if outcome == DONE:
            self.dispatcher.history.jobs.end_deferred(claim, job, outer)
        with self._changed:
            if self.deferred.pop(claim, None) is not None:
                self.reports[claim] = retention.report(job, outcome)
            self.outer.extend(identity(other) for other in outer)
            self._changed.notify_all()
        self.dispatcher.waker.set()
