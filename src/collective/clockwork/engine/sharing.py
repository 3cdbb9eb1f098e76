"""The part of a pool that runs several of its claimed jobs in one transaction.

What is done to the jobs and to the database is in ``groups``; this is about who holds
which job meanwhile, and what became of each.
"""

from __future__ import annotations

from . import clock
from .attempt import DONE
from .base import identity
from .commit import log
from .groups import MOST_IN_GROUP
from .groups import Outcome
from .groups import run_together
from .groups import take_turn
from .performing import Performing
from .performing import Running
from .performing import Ticket
from .sweeping import UNSTARTED
from .threadlocal import local
from collections import deque
from dataclasses import replace
from itertools import islice
from itertools import takewhile

import threading


class Sharing(Performing):
    """Groups of a pool's jobs; it shares ``_changed`` and what that guards."""

    def _shares(self, run: deque) -> bool:
        """Whether the next two of these may be run together."""
        return len(run) > 1 and all(
            ticket.groupable and ticket.identity not in self._cancelled
            for ticket in islice(run, 2)
        )

    def _perform_group(self, connection, run: deque) -> None:
        with take_turn():
            self._perform_group_now(connection, run)

    def _perform_group_now(self, connection, run: deque) -> None:
        # Until its turn came, all of the run could be given back.
        upcoming = self._upcoming(run)
        name = threading.current_thread().name
        previous, local.finished = local.finished, []
        try:
            outcome = run_together(
                connection, upcoming, lambda: self._take_member(name, run)
            )
        except BaseException:
            # As with a single job; which one it was is found out one by one.
            log.critical("a group of jobs could not be run", exc_info=True)
            connection.transaction_manager.abort()
            with self._changed:
                running = self.running.get(name)
                outcome = Outcome(alone=[] if running is None else running.tickets)
                if running is None and run:
                    run[0] = replace(run[0], groupable=False)
        finally:
            local.control = None
            outer = [identity(job) for job in local.finished]
            local.finished = previous
        records = self.dispatcher.history.jobs
        for ticket, job in outcome.landed:
            records.end(records.begin(self, ticket, job), job, DONE, [])
        connection.cacheGC()
        self._report_group(name, run, outcome, outer)

    def _upcoming(self, run: deque) -> list[Ticket]:
        with self._changed:
            following = takewhile(lambda ticket: ticket.groupable, run)
            return list(islice(following, MOST_IN_GROUP))

    def _take_member(self, name: str, run: deque) -> Ticket | None:
        """One more job for a group, which until then may be given back."""
        with self._changed:
            running = self.running.get(name)
            if running is not None:
                self._end_control(running.control)
                if len(running.tickets) == MOST_IN_GROUP:
                    return None
            if not run:
                return None
            ticket = run[0]
            if not ticket.groupable or ticket.identity in self._cancelled:
                return None
            if running is None:
                self.running[name] = running = self._begin_next(run)
            else:
                running.tickets.append(run.popleft())
                # What is asked of one member is not asked of the next.
                running.control = self.control_for(ticket)
            local.control = running.control
            self.last_begin = clock.monotonic()
            return ticket

    def _report_group(self, name: str, run: deque, outcome: Outcome, outer) -> None:
        alone = [replace(ticket, groupable=False) for ticket in outcome.alone]
        with self._changed:
            running: Running | None = self.running.pop(name, None)
            if running is None:
                # All was given back before its turn came.
                return
            self._end_control(running.control)
            if any(tail is run for tail in self._tails):
                run.extendleft(reversed(alone))
            else:
                # The rest of the run was given back meanwhile.
                self.reports.update((ticket.claim, UNSTARTED) for ticket in alone)
            self.reports.update(outcome.reports)
            self.outer.extend(outer)
            if outcome.reports:
                took = clock.monotonic() - running.since
                self._note_duration(took / len(outcome.reports))
            call = outer or alone or self._is_running_out()
        if call:
            self.dispatcher.waker.set()
