"""What grows is cut back: idle intakes, old finished jobs, workers that are gone.

Any dispatcher does it for all, every few minutes, and writes only if there is
something to remove.
"""

from __future__ import annotations

from . import clock
from . import progress
from . import unique
from .sweeping import recover_waiting
from datetime import timedelta
from ZODB.utils import u64


#: How long an intake must be untouched to be closed.
IDLE_INTAKE = timedelta(hours=1)
#: How often to look.
INTERVAL = timedelta(minutes=10)
#: Microseconds between the retirement of an intake and its end.
RETIRED_FOR = timedelta(minutes=10) // clock.MICROSECOND


class Tidier:
    """Cuts back what grows in the queues of one database."""

    def __init__(self):
        self._last = clock.monotonic()
        #: (queue name, intake name) to its mark and since when it has that.
        self._intakes: dict[tuple, tuple] = {}
        #: Queue name to where to go on among the keys of its unique jobs.
        self._keys: dict[str, tuple] = {}

    def is_due(self) -> bool:
        """Whether it is time to look again."""
        return clock.monotonic() - self._last >= INTERVAL.total_seconds()

    def tidy(self, queues) -> None:
        """Look at all queues, in the caller's transaction."""
        self._last = clock.monotonic()
        seen: dict[tuple, tuple] = {}
        for queue in queues.values():
            self._close_idle_intakes(queue, seen)
            forget_old_jobs(queue, clock.now_us())
            forget_notes(queue)
            settle_waiting(queue, clock.now_us())
            start = self._keys.get(queue.name, unique.START)
            self._keys[queue.name] = unique.tidy(queue, start)
            forget_gone_dispatchers(queue)
            queue.quarantine.let_go_of_ended()
        self._intakes = seen

    def _close_idle_intakes(self, queue, seen: dict) -> None:
        now = clock.monotonic()
        limit = IDLE_INTAKE.total_seconds()
        stock = set(queue.intakes.stock)
        for name, intake in list(queue.intakes.items()):
            if name in stock:
                continue
            key = (queue.name, name)
            mark = intake.mark()
            known = self._intakes.get(key)
            since = known[1] if known is not None and known[0] == mark else now
            seen[key] = (mark, since)
            if len(intake):
                continue
            retired = intake.cursor.retired
            if retired is None and now - since > limit:
                intake.retire(clock.now_us())
            elif retired is not None and clock.now_us() - retired > RETIRED_FOR:
                queue.intakes.remove(name)
                del seen[key]


def forget_old_jobs(queue, now_us: int) -> None:
    """Drop finished jobs that are older than their collection keeps them.

    A busy agent does that itself; this is for those that finish no more.
    """
    for agents in queue.dispatchers.values():
        for agent in agents.values():
            agent.completed.forget_old(now_us)


def forget_notes(queue) -> None:
    """Drop live notes on jobs that were swept while they were being written."""
    for agents in queue.dispatchers.values():
        for agent in agents.values():
            held = {u64(job._p_oid) for job in agent}
            for number in list(agent.live):
                if number not in held:
                    del agent.live[number]
            progress.forget_others(agent)


def settle_waiting(queue, now_us: int) -> None:
    """Look after outer jobs that ended long ago and that nobody has swept."""
    limit = now_us - INTERVAL // clock.MICROSECOND
    if all(
        job._active_end is None or job._active_end > limit
        for job in queue.waiting.values()
    ):
        return
    for agents in queue.dispatchers.values():
        for agent in agents.values():
            recover_waiting(queue, agent, now_us)
            return


def forget_gone_dispatchers(queue) -> None:
    """Remove the entries of workers that are stopped and left no finished jobs."""
    for agents in list(queue.dispatchers.values()):
        if agents.activated or agents.holds_jobs():
            continue
        if any(agent.completed for agent in agents.values()):
            continue
        own = list(agents.values())
        if any(job._parent in own for job in queue.waiting.values()):
            continue
        if agents.last_ping is None or clock.now() - agents.last_ping < IDLE_INTAKE:
            continue
        queue.dispatchers.unregister(agents.UUID)
