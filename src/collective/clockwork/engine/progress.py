"""What a running job says of itself, for others to see before it ends.

::

    job's thread ──report──► Reporter ──at most once a second──► Board ──► readers
                 (in memory)           (the worker's flusher)

A job may report a hundred thousand times a second: that only changes its Reporter.
One thread of the worker, the flusher, writes what has changed of all of its jobs in one
short transaction on a connection of its own, into one small record of each agent. No
job waits for that, none has a conflict by it, and whatever goes wrong there is tried
again a second later. When a job ends, its newest lines are stored in its own record, as
far as they are few; on the board it is forgotten.
"""

from __future__ import annotations

from . import clock
from .base import identity
from .commit import log
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from persistent import Persistent
from transaction.interfaces import TransactionError
from typing import NamedTuple

import threading
import transaction


#: Seconds between two writes of a worker.
INTERVAL = 1.0
#: Newest lines that are kept of a running job.
LINES = 200
#: Newest lines that are written with each change; older ones in a record apart.
RECENT = 20
#: Characters of a line or message; what is longer is cut.
LINE_LENGTH = 500
#: Bytes of lines that a job keeps in its own record when it has ended.
KEPT_OF_SUCCESS = 500
KEPT_OF_FAILURE = 4_000
#: Seconds that a stop waits for a write that is under way.
STOP_PATIENCE = 2


class Line(NamedTuple):
    """One line of a job's log."""

    at: datetime
    text: str


@dataclass(frozen=True)
class Progress:
    """What a job has said of itself by now; None stands for what it did not say."""

    done: float | None = None
    total: float | None = None
    #: 0 to 100, given or computed.
    percent: float | None = None
    message: str | None = None
    #: Since when it counts: the begin of the attempt, or of a loop that goes on.
    since: datetime | None = None
    #: Seconds until it is done, if it goes on like that.
    eta_seconds: float | None = None
    #: Oldest first.
    lines: tuple[Line, ...] = ()


class State(NamedTuple):
    """What was reported, without the lines; stored as it is."""

    done: float | None = None
    total: float | None = None
    percent: float | None = None
    message: str | None = None
    #: ``done`` when the attempt began, which was done by earlier ones.
    before: float = 0
    since_us: int = 0
    #: When it was written.
    at_us: int = 0

    @property
    def said(self) -> tuple:
        """done, total, percent and message."""
        return self[:4]


class Earlier(Persistent):
    """Lines that are too old for the board; written by the flusher."""

    #: Pairs of microseconds and text, oldest first.
    lines: tuple = ()


class Entry(NamedTuple):
    """What a board says of one claim."""

    attempt: int
    state: State
    #: Newest lines: pairs of microseconds and text, oldest first.
    lines: tuple = ()
    earlier: Earlier | None = None
    #: How many lines there were ever.
    count: int = 0


class Board(Persistent):
    """What the running jobs of one agent say of themselves.

    Written by the flusher of its worker, and by a take-over. It needs no conflict
    resolution: of the two, the one that comes second has nothing to say.
    """

    #: (oid, database) of a job to Entry; replaced, never changed.
    entries: dict = {}


# In the job's thread


def _check(name: str, value) -> None:
    """Raise TypeError or ValueError unless it is a number that is not negative."""
    if type(value) is not int and type(value) is not float:
        raise TypeError(f"{name} is {value!r}: it must be a number")
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} is {value!r}: it must be a number from 0 on")


class Reporter:
    """What one running job says of itself, in memory.

    Written by the job's thread, read by the flusher.
    """

    def __init__(self, changed: threading.Event | None = None):
        self._changed = threading.Event() if changed is None else changed
        #: done, total, percent and message; replaced as one.
        self.said: tuple = (None, None, None, None)
        self.before: float = 0
        self.since_us = clock.now_us()
        self._lines: deque = deque(maxlen=LINES)
        #: How many lines there were ever.
        self.count = 0
        self._lock = threading.Lock()

    def report(self, done=None, total=None, message=None, percent=None) -> None:
        """Replace what is given; None keeps what was said before.

        Raises TypeError or ValueError for what is no number, or below 0, or a percent
        above 100.
        """
        old = self.said
        if done is None and total is None:
            done, total = old[0], old[1]
            if percent is None:
                percent = old[2]
        else:
            if done is None:
                done = old[0]
            else:
                _check("done", done)
            if total is None:
                total = old[1]
            else:
                _check("total", total)
        if percent is not None:
            _check("percent", percent)
            if percent > 100:
                raise ValueError(f"percent is {percent!r}: it must be from 0 to 100")
        message = old[3] if message is None else str(message)[:LINE_LENGTH]
        self.said = (done, total, percent, message)
        if not self._changed.is_set():
            self._changed.set()

    def resume(self, done) -> None:
        """Say that so many were done by earlier attempts, so they took no time."""
        self.before = done
        self.since_us = clock.now_us()

    def log(self, text) -> None:
        """Add a line; the oldest goes when there are more than LINES."""
        line = (clock.now_us(), str(text)[:LINE_LENGTH])
        with self._lock:
            self._lines.append(line)
            self.count += 1
        if not self._changed.is_set():
            self._changed.set()

    def lines(self) -> tuple[int, tuple]:
        """How many lines there were ever, and the newest of them."""
        with self._lock:
            return self.count, tuple(self._lines)

    def state(self) -> State:
        """What was said last."""
        return State(*self.said, self.before, self.since_us, clock.now_us())


# In the flusher's thread


class _Shown(NamedTuple):
    """What was written last of one claim."""

    said: tuple
    count: int


class Flusher:
    """Writes what the running jobs of one worker say, into ``db`` of its queues.

    ``interval`` is how long it waits between two writes, in seconds.
    """

    def __init__(self, db, interval: float = INTERVAL):
        self.db = db
        self.interval = interval
        self.changed = threading.Event()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        #: Claim to agent oid and Reporter.
        self._reporters: dict[tuple, tuple[bytes, Reporter]] = {}
        #: Agent oid to what its board says: claim to _Shown.
        self._shown: dict[bytes, dict[tuple, _Shown]] = {}
        self._thread: threading.Thread | None = None

    # Called by the threads of the pool

    def reporter(self, ticket) -> Reporter:
        """A new reporter for this claim; the first one starts the thread."""
        reporter = Reporter(self.changed)
        with self._lock:
            self._reporters[ticket.claim] = (ticket.agent_oid, reporter)
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(
                    target=self._work, name="clockwork-progress", daemon=True
                )
                self._thread.start()
        return reporter

    def forget(self, claim: tuple) -> None:
        """The job has ended here; does nothing if it never reported."""
        with self._lock:
            known = self._reporters.pop(claim, None)
        if known is not None:
            self.changed.set()

    def stop(self) -> None:
        """Write no more. What the boards say then goes with the jobs' claims."""
        self._stopped.set()
        self.changed.set()
        thread = self._thread
        if thread is not None:
            thread.join(STOP_PATIENCE)

    # In its thread

    def _work(self) -> None:
        while True:
            self.changed.wait()
            if self._stopped.is_set():
                return
            # Before the look, so that nothing said from now on is overlooked.
            self.changed.clear()
            try:
                self.flush()
            except TransactionError:
                # A conflict, or a storage that is away: the job must not suffer.
                self.changed.set()
            except Exception:
                # A record that cannot be read, for instance. The jobs go on.
                log.error("progress could not be written", exc_info=True)
            if self._stopped.wait(self.interval):
                return

    def flush(self) -> bool:
        """Write what has changed since the last time; whether there was anything.

        Raises TransactionError if that was in vain.
        """
        wanted: dict[bytes, dict[tuple, Reporter]] = {}
        with self._lock:
            for claim, (agent_oid, reporter) in self._reporters.items():
                wanted.setdefault(agent_oid, {})[claim] = reporter
        changed = {
            oid: wanted.get(oid, {})
            for oid in {*wanted, *self._shown}
            if self._differs(oid, wanted.get(oid, {}))
        }
        if not changed:
            return False
        tm = transaction.TransactionManager()
        connection = self.db.open(tm)
        try:
            shown = {
                oid: self._write(connection.get(oid), reporters)
                for oid, reporters in changed.items()
            }
            tm.commit()
        finally:
            tm.abort()
            connection.close()
        for oid, claims in shown.items():
            if claims:
                self._shown[oid] = claims
            else:
                self._shown.pop(oid, None)
        return True

    def _differs(self, agent_oid: bytes, reporters: dict) -> bool:
        shown = self._shown.get(agent_oid, {})
        if shown.keys() - reporters.keys():
            return True
        return any(
            shown.get(claim) != (reporter.said, reporter.count)
            for claim, reporter in reporters.items()
        )

    def _write(self, agent, reporters: dict) -> dict:
        """Write one board; returns what it says then."""
        # Claims that were taken over, or swept, are not this worker's to speak of.
        held = {
            (*identity(job), attempt) for job, attempt, _key in agent.claims.entries
        }
        board = agent.board
        old = {} if board is None else board.entries
        entries, shown = {}, {}
        for claim, reporter in reporters.items():
            if claim in held:
                before = old.get(claim[:2])
                if before is None or before.attempt != claim[2]:
                    before = Entry(claim[2], State())
                entry = entries[claim[:2]] = _entry(reporter, before)
                shown[claim] = _Shown(entry.state.said, entry.count)
        if entries != old:
            if board is None:
                board = agent.board = Board()
            board.entries = entries
        return shown


def _entry(reporter: Reporter, old: Entry) -> Entry:
    """What follows ``old``."""
    count, lines = reporter.lines()
    fresh = min(len(lines), max(0, count - old.count))
    recent = (*old.lines, *lines[len(lines) - fresh :])
    earlier = old.earlier
    if len(recent) > RECENT:
        if earlier is None:
            earlier = Earlier()
        earlier.lines = (*earlier.lines, *recent)[-LINES:]
        recent = ()
    return Entry(old.attempt, reporter.state(), recent, earlier, count)


# Reading


def of(job) -> Progress:
    """What the job says of itself, as far as it was written; empty if nothing.

    Of a finished job it is what was kept in its record.
    """
    entry = _entry_of(job)
    if entry is not None:
        return _progress(entry.state, _lines_of(entry), clock.now_us())
    if job._report is not None:
        state, lines = job._report
        return _progress(State(*state), lines, None)
    return Progress()


def _entry_of(job) -> Entry | None:
    queue = job.queue
    if job._p_oid is None or queue is None or job._status >= 3:
        return None
    holder = queue.holder(job)
    return None if holder is None else entry_in(holder, job)


def entry_in(agent, job) -> Entry | None:
    """What the agent's board says of the job in its present attempt."""
    if agent.board is None:
        return None
    entry = agent.board.entries.get(identity(job))
    return entry if entry is not None and entry.attempt == job.attempt else None


def _progress(state: State, lines: tuple, now_us: int | None) -> Progress:
    percent = state.percent
    if percent is None and state.done is not None and state.total:
        percent = min(100.0, 100.0 * state.done / state.total)
    return Progress(
        done=state.done,
        total=state.total,
        percent=percent,
        message=state.message,
        since=clock.from_us(state.since_us),
        eta_seconds=None if now_us is None else _eta(state, percent, now_us),
        lines=_as_lines(lines),
    )


def _lines_of(entry: Entry) -> tuple:
    earlier = () if entry.earlier is None else entry.earlier.lines
    return (*earlier, *entry.lines)[-LINES:]


def _as_lines(lines: tuple) -> tuple[Line, ...]:
    return tuple(Line(clock.from_us(at), text) for at, text in lines)


def _eta(state: State, percent: float | None, now_us: int) -> float | None:
    if state.done is not None and state.total and state.percent is None:
        made, left = state.done - state.before, max(0, state.total - state.done)
    elif percent is not None:
        made, left = percent, 100 - percent
    else:
        return None
    if made <= 0:
        return None
    took = (state.at_us - state.since_us) / 1e6
    return max(0.0, took * left / made - (now_us - state.at_us) / 1e6)


# When a job leaves its worker


def keep(job, reporter: Reporter, failed: bool) -> None:
    """Store the last report in the job's record, in the commit that ends the job.

    Of the lines it keeps the newest that fit; more if it has failed.
    """
    room = KEPT_OF_FAILURE if failed else KEPT_OF_SUCCESS
    kept: list = []
    for line in reversed(reporter.lines()[1]):
        # The time takes 8 bytes, and the frame around both some more.
        room -= len(line[1].encode()) + 16
        if room < 0:
            break
        kept.append(line)
    job._report = (tuple(reporter.state()), tuple(reversed(kept)))


def forget_all(agent) -> None:
    """Empty the board of an agent whose worker is gone, or has stopped."""
    if agent.board is not None and agent.board.entries:
        agent.board.entries = {}


def last_lines(agent, job) -> tuple[Line, ...]:
    """The newest lines that a job wrote in a worker which is gone; oldest first.

    To be asked before ``forget_all``, and before the job's attempt is raised.
    """
    entry = entry_in(agent, job)
    return () if entry is None else _as_lines(_lines_of(entry))


def forget_others(agent) -> None:
    """Drop what the board says of jobs that the agent has no more.

    A worker that ended at the wrong moment may have left that.
    """
    if agent.board is None:
        return
    held = {identity(job) for job in agent}
    entries = agent.board.entries
    left = {key: entry for key, entry in entries.items() if key in held}
    if len(left) != len(entries):
        agent.board.entries = left
