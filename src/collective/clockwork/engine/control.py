"""What others want of a running job: kept in memory, so that to look costs nothing.

There is one Control for each job that a worker runs. The dispatcher writes it when
somebody has asked for a cancel; the job's own thread reads it at its checkpoints.
"""

from __future__ import annotations

from . import clock
from .errors import CancelledError
from .errors import JobTimeoutError
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import threading


#: For all controls, because it is held for moments only, and rarely needed.
_lock = threading.Lock()


class Cancel(NamedTuple):
    """A cancel that was asked for: who did, and why, as far as it was said."""

    by: str | None = None
    reason: str | None = None


class Control:
    """What one running job is asked to do; may be used by several threads.

    ``stopping`` is the event that its dispatcher stops with, None outside of a
    worker. ``ticket`` is the claim, and ``flusher`` what shows the job's progress to
    other processes; both are None outside of a worker.
    """

    __slots__ = (
        "_closed",
        "_deadline",
        "_lifted",
        "_timeout",
        "_watchers",
        "callback",
        "cancel",
        "flusher",
        "reporter",
        "stopping",
        "ticket",
    )

    def __init__(
        self, stopping: threading.Event | None = None, ticket=None, flusher=None
    ):
        #: None, or who asked for a cancel and why.
        self.cancel: Cancel | None = None
        self.stopping = stopping
        self.ticket = ticket
        #: Identity of the job's callback that is called; None before the callbacks.
        self.callback: tuple | None = None
        self.flusher = flusher
        #: What the job says of its progress; made at its first report.
        self.reporter = None
        self._timeout: float | None = None
        self._deadline: float | None = None
        #: The deadline while it does not count.
        self._lifted: float | None = None
        self._watchers: tuple = ()
        #: Whether no cancel is taken any more.
        self._closed = False

    def begin_attempt(
        self, timeout: float | None, callback: tuple | None = None
    ) -> None:
        """Count ``timeout`` seconds from now, or without limit when it is None.

        ``callback`` is the identity of a callback, if it is one that begins.
        """
        self._timeout = timeout
        self._lifted = None
        self._deadline = None if timeout is None else clock.monotonic() + timeout
        # Behind the deadline; see ``overdue``.
        self.callback = callback
        if callback is not None:
            # It was the job that should be cancelled, not its callbacks.
            self.close()

    def lift_timeout(self) -> None:
        """Let no timeout come: how long a commit takes is the storage's business."""
        if self._deadline is not None:
            self._lifted, self._deadline = self._deadline, None

    def count_on(self) -> None:
        """Let the timeout come as before ``lift_timeout``."""
        self._deadline = self._lifted

    def ask_to_cancel(self, by: str | None = None, reason: str | None = None) -> None:
        """Let the next checkpoint raise CancelledError; the first who asks counts."""
        with _lock:
            if self._closed:
                return
            if self.cancel is None:
                self.cancel = Cancel(by, reason)
            for watcher in self._watchers:
                watcher()

    def close(self) -> None:
        """Take no cancel any more: the job's own work is done."""
        with _lock:
            self._closed = True
            self.cancel = None

    def end(self) -> None:
        """Show nothing more of what the job reported."""
        if self.reporter is not None and self.flusher is not None:
            self.flusher.forget(self.ticket.claim)

    @contextmanager
    def watched(self, watcher: Callable) -> Iterator[None]:
        """Have ``watcher`` called when a cancel is asked for, in whatever thread.

        It is called at once if that was before. It must be quick, and not raise.
        """
        with _lock:
            self._watchers = (*self._watchers, watcher)
            if self.cancel is not None:
                watcher()
        try:
            yield
        finally:
            with _lock:
                self._watchers = tuple(w for w in self._watchers if w is not watcher)

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the timeout, negative behind it; None if there is none."""
        deadline = self._deadline
        return None if deadline is None else deadline - clock.monotonic()

    @property
    def is_overdue(self) -> bool:
        """Whether the attempt takes longer than it may."""
        left = self.seconds_left
        return left is not None and left <= 0

    def overdue(self, grace: float) -> tuple[bool, tuple | None]:
        """Whether its time is over by ``grace`` seconds, and of which callback."""
        # Read in this order, a callback that has just begun is never taken for the
        # one before it, whose time may be over.
        callback = self.callback
        left = self.seconds_left
        return left is not None and left < -grace, callback

    @property
    def is_stopping(self) -> bool:
        """Whether the worker that runs the job is about to stop."""
        return self.stopping is not None and self.stopping.is_set()

    @property
    def is_due(self) -> bool:
        """Whether the job should come to a checkpoint now, for whatever reason."""
        return self.cancel is not None or self.is_stopping or self.is_overdue

    def check(self) -> None:
        """Raise the error that is due, if any.

        CancelledError if a cancel was asked for, JobTimeoutError past the timeout.
        """
        if self.cancel is not None:
            raise CancelledError(self.cancel.by, self.cancel.reason)
        self.check_timeout()

    def check_timeout(self) -> None:
        """Raise JobTimeoutError past the timeout."""
        if self.is_overdue:
            raise self.timeout_error()

    def timeout_error(self) -> JobTimeoutError:
        """The error of an attempt that took too long."""
        return JobTimeoutError(self._timeout)
