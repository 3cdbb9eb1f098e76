"""The measured work, as tasks of Celery and of Huey.

The workers of both import this module; the address of the database and the
name of the queue are in their environment.
"""

from __future__ import annotations

from celery import Celery
from huey import RedisHuey
from server import open_database
from ZODB.POSException import ConflictError

import os
import threading
import transaction


REDIS = "redis://127.0.0.1:6379/0"
QUEUE = os.environ.get("CLOCKWORK_BENCH_QUEUE", "clockwork-bench")

# As a rule results are not kept, and a killed worker's tasks are lost: so both are
# fastest. The safe form is nearer to what a job of the queue is.
SAFE = "CLOCKWORK_BENCH_SAFE" in os.environ

app = Celery("peerwork", broker=REDIS, backend=REDIS if SAFE else None)
app.conf.task_default_queue = QUEUE
app.conf.task_ignore_result = not SAFE
app.conf.task_acks_late = SAFE
app.conf.result_backend_transport_options = {"global_keyprefix": f"{QUEUE}-"}
huey = RedisHuey(QUEUE, url=REDIS, results=False)

_lock = threading.Lock()
_thread = threading.local()
_db = None


def _targets():
    """This thread's targets: a connection for each thread, opened once."""
    global _db
    with _lock:
        if _db is None:
            _db = open_database(os.environ["CLOCKWORK_BENCH_ADDRESS"])
    if not hasattr(_thread, "targets"):
        _thread.tm = transaction.TransactionManager()
        _thread.targets = _db.open(_thread.tm).root()["targets"]
    return _thread.targets


def touch(number: int) -> None:
    """Write one object in a transaction of its own, again after a conflict."""
    targets = _targets()
    while True:
        _thread.tm.begin()
        targets[number].touch()
        try:
            _thread.tm.commit()
            return
        except ConflictError:
            _thread.tm.abort()


celery_touch = app.task(name="touch")(touch)
huey_touch = huey.task(name="touch")(touch)
