"""A process that queues its rows of the plan, each in a transaction of its own.

``python -m chaos.producer PORT SEED SIZE NUMBER SECONDS``: SIZE is "long" or
"short", SECONDS how long to take. It goes on where an earlier one was ended.
"""

from __future__ import annotations

from chaos import plan
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
    while position < len(planned):
        begun = time.monotonic()
        try:
            put(root, int(number), position, planned[position])
            position += 1
        except ConflictError as error:
            # Nothing that this process writes is written by anybody else.
            transaction.abort()
            print(f"conflict: {error}", flush=True)
        except Exception as error:
            # The server is away or cannot write: both pass.
            transaction.abort()
            print(f"again: {error!r}", flush=True)
            time.sleep(0.2)
        time.sleep(max(0.0, begun + pace - time.monotonic()))
    transaction.abort()
    db.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
