"""The clocks of a process: threads that call, and how they end.

Time is cut into slices as long as the period, counted from the epoch, and a clock
calls its method once at the beginning of each slice, as in ZServer: the first call
comes at the end of the slice in which the process was started, a daily call keeps
its hour over restarts, and nothing drifts. A slice that passed while the process
was down or the last call still ran is left out.

Each clock has a thread of its own, so that no call overlaps with the next one of
the same clock. While it calls, a second one sees whether that takes too long. Threads
do not live on in a process that is forked from this one.

Each call is logged at the level DEBUG. What changes is logged above that, once:
the first success, a failure, another failure, and the success after it.
"""

from __future__ import annotations

from collections.abc import Callable
from collective.clockwork.clockcall import Answer
from collective.clockwork.clockcall import call
from collective.clockwork.clockonce import take_slice
from collective.clockwork.clocksection import ClockSection
from collective.clockwork.clocksection import PasswordMissing
from typing import Any

import logging
import os
import signal
import threading
import time


#: One name for all that clocks log.
logger = logging.getLogger("collective.clockwork.clockserver")

#: Seconds that calls which are running get to end when the process is stopped.
#: Less than the ten after which Docker kills.
GRACE = 8.0

#: Seconds after which a waiting clock looks at the time again: it may have been set,
#: or the machine may have slept.
LONGEST_WAIT = 30.0

#: The clocks of this process.
running: list[Clock] = []

#: What else is called before a signal ends the process.
also_stopped: list[Callable[[], None]] = []


class Clock(threading.Thread):
    """Calls the method of one section, until it is stopped."""

    def __init__(
        self,
        section: ClockSection,
        db: Any,
        call: Callable[[ClockSection], Answer] = call,
        now: Callable[[], float] = time.time,
        stopping: threading.Event | None = None,
    ):
        super().__init__(name=f"clock-server {section.name}", daemon=True)
        self.section = section
        #: The database that says, for a clock with `once`, who calls.
        self.db = db
        self._call = call
        self._now = now
        self._stopping = stopping or threading.Event()
        #: What the last call came to, whether that was an error, and whether the
        #: next one had to be left out.
        self._state: str | None = None
        self._failed = False
        self._late = False

    def __str__(self) -> str:
        return f"The clock-server {self.section.name} ({self.section.method})"

    def announce(self) -> None:
        """Log what this clock is going to do, and what is strange about it."""
        section = self.section
        try:
            credentials = section.credentials()
        except PasswordMissing as error:
            logger.error("%s has no password, and calls when it has. %s.", self, error)
            caller = section.user
        else:
            caller = credentials[0] if credentials else None
            has_one = section.user or section.password or section.password_env
            if caller is None and (has_one or section.password_file):
                logger.warning(
                    "%s calls anonymously: it has %s. Give it both or neither.",
                    self,
                    "a user but no password" if section.user else "no user",
                )
        logger.info(
            "%s is called as %s every %s s", self, caller or "Anonymous", section.period
        )

    def run(self) -> None:
        """Call at the beginning of each slice. The body of the thread."""
        done = self._slice()
        while not self._stopping.is_set():
            present = self._slice()
            if present < done:
                # The time was set back.
                done = present
            elif present > done:
                self.pulse(present * self.section.period)
                done = self._slice()
                self._report_late(done - present)
            else:
                end = (present + 1) * self.section.period
                self._stopping.wait(min(max(end - self._now(), 0), LONGEST_WAIT))

    def _slice(self) -> int:
        return int(self._now() // self.section.period)

    def pulse(self, start: int) -> None:
        """Make the call of the slice that begins at `start`, unless another does.

        Logs what becomes of it and raises nothing.
        """
        section = self.section
        began = time.monotonic()
        try:
            if section.once and not take_slice(
                self.db, section.name, section.method, start, section.period
            ):
                logger.debug("%s: another process makes this call", self)
                return
            answer = self._call_watched()
        except PasswordMissing as error:
            self._report(str(error), f"no call is made. {error}.", logging.ERROR)
        # SystemExit, or asyncio's CancelledError, would end the thread.
        except BaseException as error:
            # Its text may have a number that is new each time.
            state = type(error).__qualname__
            self._report(state, "the call failed", logging.ERROR, exc_info=error)
        else:
            took = time.monotonic() - began
            level = logging.INFO if answer.is_success else logging.ERROR
            self._report(answer.status, f"{answer} after {took:.2f} s", level)

    def _call_watched(self) -> Answer:
        """Call; if it takes too long, the log says so before it ends."""
        seconds = min(self.section.period, threading.TIMEOUT_MAX)
        timer = threading.Timer(seconds, self._report_late, (1,))
        timer.daemon = True
        timer.start()
        try:
            return self._call(self.section)
        finally:
            timer.cancel()

    def _report(self, state: str, message: str, level: int, **kwargs) -> None:
        changed = state != self._state
        again = self._failed and level == logging.INFO
        self._state = state
        self._failed = level == logging.ERROR
        logger.log(
            level if changed else logging.DEBUG,
            "%s works again: %s" if again else "%s: %s",
            self,
            message,
            **(kwargs if changed else {}),
        )

    def _report_late(self, left_out: int) -> None:
        if left_out > 0 and not self._late:
            logger.warning(
                "%s: the call had not ended when the next one was due after %s s, so "
                "the next one is left out, and so on until a call ends in time. Make "
                "the period longer, or let the method queue a job.",
                self,
                self.section.period,
            )
        elif left_out <= 0 and self._late:
            logger.info("%s keeps its period again", self)
        self._late = left_out > 0

    def ask_to_stop(self) -> None:
        """Make no further call. Returns at once."""
        self._stopping.set()


def stop(grace: float = GRACE) -> None:
    """Stop the clocks of this process; no call is made after it.

    Calls that are running get `grace` seconds to end, all together; one that takes
    longer is logged and given up with the process.
    """
    if not running:
        return
    logger.info("Stopping the clock-servers")
    deadline = time.monotonic() + grace
    clocks = list(running)
    running.clear()
    for clock in clocks:
        clock.ask_to_stop()
    for clock in clocks:
        clock.join(max(deadline - time.monotonic(), 0))
        if clock.is_alive():
            logger.warning("%s still calls after %s s and is given up", clock, grace)
    logger.info("The clock-servers are stopped")


def stop_before_signals() -> None:
    """Stop the clocks before a signal ends the process, if nobody else handles it.

    SIGTERM would end Zope's own server in the middle of a call, and after SIGINT its
    databases are closed before `atexit` comes. Servers with handlers of their own,
    such as gunicorn and ``clockwork-worker``, keep them.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    process = os.getpid()
    for signum, default in (
        (signal.SIGTERM, signal.SIG_DFL),
        (signal.SIGINT, signal.default_int_handler),
    ):
        if signal.getsignal(signum) == default:
            signal.signal(signum, _stop_and_end(default, process))


def _stop_and_end(default: Any, process: int) -> Callable[[int, Any], None]:
    def handle(signum: int, frame: Any) -> None:
        # The same signal once more ends the process without waiting.
        signal.signal(signum, default)
        # In a process that was forked from ours no clock is running.
        try:
            if os.getpid() == process:
                for stop_them in (stop, *also_stopped):
                    stop_them()
        finally:
            signal.raise_signal(signum)

    return handle
