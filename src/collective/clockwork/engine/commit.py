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
from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError
from ZODB.POSException import POSKeyError
from ZODB.utils import z64

import errno
import logging
import time


try:
    from ZEO.Exceptions import ClientDisconnected
    from ZEO.Exceptions import ServerException
except ImportError:  # ZEO is not needed for a database in one process

    class ClientDisconnected(Exception):
        """Never raised without ZEO."""

    class ServerException(Exception):
        """Never raised without ZEO."""


class StorageFull(TransientError):
    """The storage has no room for this commit; somebody will make some."""


class TakenId(TransientError):
    """A new object got an id that another one has; see ``objectids``."""


log = logging.getLogger("collective.clockwork.engine.events")
tracelog = logging.getLogger("collective.clockwork.engine.trace")

#: Errors that no policy may catch: the thread or the job is no longer ours.
EXPLOSIVE_ERRORS = (SystemExit, KeyboardInterrupt, ReassignedError)
#: Errors of the database's surroundings, which pass.
SYSTEM_ERRORS = (ClientDisconnected, StorageFull, POSKeyError)
#: With these numbers an OSError means that there is no room: on the disk, in the
#: quota of the server's user, in the size that its process may give a file.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: What ZODB's cache says, in a ValueError, of an id that is taken.
SAME_ID = "A different object already has the same oid"

#: Seconds: first wait for a storage that is away, growth, and longest wait.
BACKOFF_FIRST = 5
BACKOFF_STEP = 5
BACKOFF_MAX = 60


def explained(error: Exception, committing: bool) -> Exception:
    """An error whose class says what it means: ``error``, or one caused by it.

    Storages tell of some of their troubles in errors that could be anybody's.
    ``committing`` says whether it was raised by a commit; elsewhere an OSError
    is the business of who raised it.
    """
    if isinstance(error, OSError):
        full = committing and error.errno in NO_ROOM
    else:
        full = isinstance(error, ServerException) and _is_no_room(error)
    if full:
        meaning = StorageFull(f"the storage cannot write: {error}")
    elif _is_taken_id(error):
        meaning = TakenId(str(error))
    else:
        return error
    meaning.__cause__ = error
    return meaning.with_traceback(error.__traceback__)


def _is_no_room(error: ServerException) -> bool:
    # A ZEO server sends the dotted name of an error's class, and its arguments.
    match error.args:
        case ("builtins.OSError", (number, *_)):
            return number in NO_ROOM
    return False


def _is_taken_id(error: Exception) -> bool:
    if isinstance(error, ConflictError):
        # Of an object that this transaction took for a new one.
        return error.serials is not None and error.serials[1] == z64
    return type(error) is ValueError and error.args == (SAME_ID,)


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
    waits = 0
    while True:
        result, error = _try(call, tm)
        if error is None:
            return result
        if _is_conflict(error):
            conflicts += 1
            if not conflicts % 5:
                log.warning("%s: %d conflicts so far", identifier, conflicts)
        else:
            # This step must succeed for the job to end at all, so whatever
            # keeps it from doing so is reported and tried again.
            waits += 1
            _wait(identifier, error, waits)
        tm.begin()


def wait_for_system_recovery(call: Callable, identifier: str, tm):
    """Call and commit, waiting for the storage; other errors give a Failure."""
    waits = 0
    while True:
        result, error = _try(call, tm)
        if error is None:
            return result
        if isinstance(error, SYSTEM_ERRORS):
            waits += 1
            _wait(identifier, error, waits)
        elif not _is_conflict(error):
            log.error("%s: failed", identifier, exc_info=error)
            return Failure(error)
        tm.begin()


def try_five_times(call: Callable, identifier: str, tm, commit: bool = True):
    """Call, and commit if asked; five conflicts or another error give a Failure."""
    for attempt in range(1, 6):
        result, error = _try(call, tm, commit)
        if error is None:
            return result
        if not isinstance(error, TransactionError) or attempt == 5:
            log.critical(
                "%s: failed, giving up after %d", identifier, attempt, exc_info=error
            )
            return Failure(error)
        tm.begin()


def _try(call: Callable, tm, commit: bool = True) -> tuple:
    """What ``call`` returned and None, or None and the error; that is aborted.

    Raises EXPLOSIVE_ERRORS. Which other errors to live with the caller decides.
    """
    committing = False
    try:
        result = call()
        committing = True
        if commit:
            tm.commit()
        return result, None
    except EXPLOSIVE_ERRORS:
        tm.abort()
        raise
    except Exception as error:
        tm.abort()
        return None, explained(error, committing)


def _is_conflict(error: Exception) -> bool:
    return isinstance(error, TransactionError) and not isinstance(error, SYSTEM_ERRORS)


def _wait(identifier: str, error: Exception, count: int) -> None:
    """Say what went wrong, and wait: the longer, the more often it did."""
    seconds = min(BACKOFF_FIRST + BACKOFF_STEP * (count - 1), BACKOFF_MAX)
    if isinstance(error, SYSTEM_ERRORS):
        log.error("%s: %r, trying again in %d s", identifier, error, seconds)
    elif count % 10 == 1:
        log.critical(
            "%s: error %d, trying again in %d s",
            identifier,
            count,
            seconds,
            exc_info=error,
        )
    pause(seconds)
