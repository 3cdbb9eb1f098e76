"""Committing with patience: conflicts, a storage that is away, last words.

Three ways, as in zc.async, told apart by what they do with an error:

===========================  ===============================================
``never_fail``               tries until it succeeds
``wait_for_system_recovery`` waits for the storage only; else gives a Failure
``try_five_times``           gives up after five conflicts, with a Failure
===========================  ===============================================
"""

from __future__ import annotations

from .failure import Failure
from .interfaces import ReassignedError
from .threadlocal import local
from collections.abc import Callable
from transaction.interfaces import TransactionError
from ZODB.POSException import POSKeyError

import logging
import time


try:
    from ZEO.Exceptions import ClientDisconnected
except ImportError:  # ZEO is not needed for a database in one process

    class ClientDisconnected(Exception):
        """Never raised without ZEO."""


log = logging.getLogger("collective.clockwork.engine.events")
tracelog = logging.getLogger("collective.clockwork.engine.trace")

#: Errors that no policy may catch: the thread or the job is no longer ours.
EXPLOSIVE_ERRORS = (SystemExit, KeyboardInterrupt, ReassignedError)
#: Errors of the database's surroundings, which pass.
SYSTEM_ERRORS = (ClientDisconnected, POSKeyError)

#: Seconds: first wait for a storage that is away, growth, and longest wait.
BACKOFF_FIRST = 5
BACKOFF_STEP = 5
BACKOFF_MAX = 60


def trace(level: int, text: str, *values) -> None:
    """Log what jobs do, with the representations of ``values``.

    They are made here and not by the log's handlers: to represent a job may
    mean to load it, and a handler that waits for the database, or whose lock
    is needed by the ZODB's own messages, would stop the whole process.
    """
    if tracelog.isEnabledFor(level):
        shown = [v if isinstance(v, str) else repr(v) for v in values]
        tracelog.log(level, text, *shown)


def pause(seconds: float) -> None:
    """Wait, but not past the stop of this thread's dispatcher.

    Raises SystemExit if the dispatcher stops meanwhile.
    """
    stopping = getattr(local, "stopping", None)
    if stopping is None:
        time.sleep(seconds)
    elif stopping.wait(seconds):
        raise SystemExit("the dispatcher is stopping")


def never_fail(call: Callable, identifier: str, tm):
    """Call and commit until both work; returns what the call returned.

    Conflicts are tried again at once; anything else after 5, 10 ... 60 s.
    """
    conflicts = 0
    errors = 0
    backoff = 0
    again = False
    while True:
        try:
            if again:
                tm.begin()
            again = True
            result = call()
            tm.commit()
            return result
        except EXPLOSIVE_ERRORS:
            tm.abort()
            raise
        except ClientDisconnected:
            tm.abort()
            backoff = min(backoff + BACKOFF_STEP, BACKOFF_MAX)
            log.error("%s: the storage is away, waiting %d s", identifier, backoff)
            pause(backoff)
        except TransactionError:
            tm.abort()
            conflicts += 1
            if not conflicts % 5:
                log.warning("%s: %d conflicts so far", identifier, conflicts)
        except Exception as error:
            # This step must succeed for the job to end at all, so whatever
            # keeps it from doing so is reported and tried again.
            tm.abort()
            errors += 1
            backoff = min(backoff + BACKOFF_STEP, BACKOFF_MAX)
            if errors % 10 == 1:
                system = isinstance(error, SYSTEM_ERRORS)
                log.log(
                    logging.ERROR if system else logging.CRITICAL,
                    "%s: error %d, trying again in %d s",
                    identifier,
                    errors,
                    backoff,
                    exc_info=True,
                )
            pause(backoff)


def wait_for_system_recovery(call: Callable, identifier: str, tm):
    """Call and commit, waiting for the storage; other errors give a Failure."""
    backoff = 0
    again = False
    while True:
        try:
            if again:
                tm.begin()
            again = True
            result = call()
            tm.commit()
            return result
        except EXPLOSIVE_ERRORS:
            tm.abort()
            raise
        except SYSTEM_ERRORS:
            tm.abort()
            backoff = min(backoff + BACKOFF_STEP, BACKOFF_MAX)
            log.error("%s: system error, waiting %d s", identifier, backoff)
            pause(backoff)
        except TransactionError:
            tm.abort()
        except Exception as error:
            # The caller gets it as a value and decides.
            tm.abort()
            log.error("%s: failed", identifier, exc_info=True)
            return Failure(error)


def try_five_times(call: Callable, identifier: str, tm, commit: bool = True):
    """Call, and commit if asked; five conflicts or another error give a Failure."""
    for attempt in range(1, 6):
        try:
            if attempt > 1:
                tm.begin()
            result = call()
            if commit:
                tm.commit()
            return result
        except EXPLOSIVE_ERRORS:
            tm.abort()
            raise
        except TransactionError as error:
            tm.abort()
            if attempt == 5:
                log.critical("%s: five conflicts, giving up", identifier, exc_info=True)
                return Failure(error)
        except Exception as error:
            # The caller gets it as a value and decides.
            tm.abort()
            log.critical("%s: failed", identifier, exc_info=True)
            return Failure(error)
