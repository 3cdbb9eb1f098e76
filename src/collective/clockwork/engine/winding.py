"""What a dispatcher that stops does while its running jobs end.

Other workers get what it had claimed and not begun at once, and not at its end; and it
goes on to give signs of life, without which it would be taken for dead, and its running
jobs be begun elsewhere, whenever they get longer to end than that takes.
"""

from __future__ import annotations

from . import clock
from .commit import log
from .interfaces import KEY
from .station import SWEEP_DELAY
from transaction.interfaces import TransactionError

import math


def wind_down(dispatcher, connection, deadline: float) -> None:
    """Return when no job runs any more, at the latest at ``deadline``.

    That is a moment on the monotonic clock. Commits; never raises for what is in the
    database, or because that is away.
    """
    pools = [station.pool for station in dispatcher.stations.values()]
    for _round in range(math.ceil((deadline - clock.monotonic()) / SWEEP_DELAY)):
        if connection is not None:
            _keep_up(dispatcher, connection)
        now = clock.monotonic()
        if now >= deadline or all(pool.idle for pool in pools):
            return
        until = min(deadline, now + SWEEP_DELAY)
        for pool in pools:
            pool.stop(until)


def _keep_up(dispatcher, connection) -> None:
    tm = dispatcher.tm
    try:
        # Asked of one that is away, ZEO would wait for it.
        dispatcher.require_storage()
        tm.begin()
        queues = connection.root().get(KEY, {})
        for (queue_name, agent_name), station in dispatcher.stations.items():
            queue = queues.get(queue_name)
            if queue is None:
                continue
            agents = queue.dispatchers.get(dispatcher.UUID)
            if agents is None or agents.boot != dispatcher.boot:
                continue
            if agents.activated and agent_name in agents:
                station.serve(queue, agents)
                tm.begin()
    except TransactionError:
        # Somebody else was faster, or the storage is away: the next round tries again.
        log.debug("dispatcher %s stops", dispatcher.UUID, exc_info=True)
    except Exception:
        # The jobs that still run must not suffer.
        log.critical("dispatcher %s stops", dispatcher.UUID, exc_info=True)
    tm.abort()
