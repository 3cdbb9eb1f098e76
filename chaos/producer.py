"""A process that queues its rows of the plan, each in a transaction of its own.

``python -m chaos.producer PORT SEED SIZE NUMBER SECONDS``: SIZE is "long" or
"short", SECONDS how long to take. It goes on where an earlier one was ended.
"""

from __future__ import annotations

from chaos import plan
from chaos.ledger import cancel
from chaos.ledger import CANCELLED
from chaos.ledger import LEDGER
from chaos.ledger import put
from chaos.opening import insist
from chaos.opening import open_database
from ZODB.POSException import ConflictError

import sys
import time
import transaction


SIZES = {"long": plan.LONG, "short": plan.SHORT}


def main(port: str, seed: str, size: str, number: str, seconds: str) -> None:
    """Queue what is not queued."""
    planned = plan.rows(int(seed), SIZES[size], int(number))
    pace = float(seconds) / len(planned)
    db = open_database(int(port), 30)
    connection = insist(db.open)
    root = insist(connection.root)
    position = insist(lambda: len(root[LEDGER][int(number)]))
    open_cancels = insist(lambda: cancels_left(root[LEDGER][int(number)]))
    while position < len(planned) or open_cancels:
        begun = time.monotonic()
        kind = planned[position].kind if position < len(planned) else None
        due = due_cancel(open_cancels, planned, position)
        try:
            if due is not None:
                cancel(root, int(number), due)
                open_cancels.remove(due)
                continue
            put(root, int(number), position, planned[position])
            if kind in CANCELLED:
                open_cancels.append(position)
            position += 1
        except ConflictError as error:
            transaction.abort()
            if due is None and kind != "unique":
                # Nothing that this process writes is written by anybody else, but
                # for a job that waits: its worker may begin it at this moment.
                print(f"conflict: {error}", flush=True)
        except Exception as error:
            # The server is away or cannot write: both pass.
            transaction.abort()
            print(f"again: {error!r}", flush=True)
            time.sleep(0.2)
        time.sleep(max(0.0, begun + pace - time.monotonic()))
    transaction.abort()
    db.close()


def cancels_left(records) -> list[int]:
    """Positions of jobs that an earlier process has queued and not cancelled."""
    return [
        position
        for position, record in records.items()
        if record.kind in CANCELLED and record.answer is None
    ]


def due_cancel(left: list[int], planned: list, position: int) -> int | None:
    """Which job to cancel now: when so many others, or all, are queued."""
    for place in left:
        if position >= min(len(planned), place + planned[place].cancelled_after):
            return place
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
