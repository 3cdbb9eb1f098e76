"""The thread that looks after the schedules, one in each worker process.

It keeps in memory when each schedule is due next, and sleeps until the first of these
moments, a second at most. When the database has changed meanwhile it looks whether
people have changed a schedule; that is one number, read from the cache. So a look reads
what is due, and all schedules only after a change by people. Nothing is written but
what fires.

All workers do the same, and the record of a schedule decides whose firing counts. So
that not all of them queue a job at the same moment, of which one remains, the one that
fired a schedule last fires it in time, and the others look a moment later whether it
has. If it is gone, one of them fires, and goes on with it.
"""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine.commit import ClientDisconnected
from collective.clockwork.schedules import adoption
from collective.clockwork.schedules import firing
from collective.clockwork.schedules import model
from collective.clockwork.schedules.firing import require_readable
from collective.clockwork.schedules.model import Schedule
from transaction.interfaces import TransactionError
from typing import Any

import atexit
import heapq
import logging
import os
import random
import threading
import transaction


logger = logging.getLogger("collective.clockwork.schedules")

#: Variable of the environment by which a process leaves the schedules alone: "off".
SWITCH = "CLOCKWORK_SCHEDULES"

#: Longest sleep, in seconds; with it a change by people is noticed.
LONGEST_SLEEP = 1.0

#: Microseconds by which a schedule that another worker fired last is left to that one.
COURTESY = (100_000, 300_000)

#: Microseconds until a schedule is tried again that failed, that met others again and
#: again, and whose site is gone.
RETRY_BROKEN = 60_000_000
RETRY_CONFLICT = 1_000_000
RETRY_GONE = 600_000_000

#: Seconds until the next look after an error that is no single schedule's.
PAUSE = 5.0

#: Seconds that a stop waits for a firing that is under way.
STOP_PATIENCE = 10.0

#: Site key and name of a schedule.
Key = tuple[str, str]

#: The running threads, by the name of their database.
_running: dict[str, Timekeeper] = {}


def start(database: Any) -> Timekeeper | None:
    """Look after the schedules of this database; a second start changes nothing.

    None, and the log says so, where the environment switches that off.
    """
    switch = os.environ.get(SWITCH, "on").strip().lower()
    if switch not in ("", "on"):
        # A slip of the hand must not send a newsletter from a copy.
        logger.warning("No schedule fires in this process: %s is %r", SWITCH, switch)
        return None
    name = database.database_name
    running = _running.get(name)
    if running is not None and running.is_alive() and running.database is database:
        return running
    if running is not None:
        running.stop()
    # For a Zope that serves, which tells nobody that it ends.
    atexit.register(stop)
    started = _running[name] = Timekeeper(database)
    started.start()
    return started


def stop() -> None:
    """Stop all of them; what is being fired at this moment is completed."""
    atexit.unregister(stop)
    while _running:
        _running.popitem()[1].stop()


class Timekeeper:
    """Fires the schedules of one database when they are due."""

    def __init__(self, database: Any) -> None:
        self.database = database
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._away = False
        #: Whether the sites have the schedules that ZCML declares.
        self._adopted = False
        #: The database's last transaction, and the state of ``Schedules.changes``, at
        #: the last look.
        self._transaction: bytes | None = None
        self._changes: tuple | None = None
        #: When each schedule is to be looked at; None for one that does not fire.
        self._due: dict[Key, int | None] = {}
        #: The same as a heap; pairs that differ from it are out of date.
        self._heap: list[tuple[int, Key]] = []
        #: What the schedules were like when that was found out.
        self._states: dict[Key, tuple] = {}
        #: Those which this process fired last.
        self._own: set[Key] = set()
        #: What was said in the log of those that cannot fire, once.
        self._told: dict[Key | str, str] = {}

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread = threading.Thread(
            target=self._work, name="clockwork-schedules", daemon=True
        )
        self._thread.start()
        logger.info(
            "The schedules of database %r are looked after", self.database.database_name
        )

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """End, after what is being fired."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_PATIENCE)
            if self._thread.is_alive():
                logger.warning(
                    "The schedules of database %r are still being looked at after "
                    "%d s: going on without waiting",
                    self.database.database_name,
                    STOP_PATIENCE,
                )

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                self._require_storage()
                self._adopt()
                wait = self.look()
                self._storage_is_back()
            except ClientDisconnected as error:
                self._storage_is_away(error)
                wait = LONGEST_SLEEP
            except TransactionError:
                # Others have changed what was being read.
                wait = random.uniform(0, 0.1)
            except BaseException:
                # Without this thread no schedule of the process would ever fire.
                logger.exception("The schedules could not be looked at")
                wait = PAUSE
            self._stopping.wait(wait)

    def _adopt(self) -> None:
        if self._adopted:
            return
        try:
            adoption.adopt(self.database)
        except TransactionError:
            raise
        except Exception:
            # Those that are there already fire all the same.
            logger.exception("What ZCML declares could not be put into the sites")
        self._adopted = True

    def look(self) -> float:
        """Fire what is due; seconds until the next look.

        Raises TransactionError if the storage is away, or what is read changes.
        """
        last = self.database.lastTransaction()
        if last != self._transaction or self._next_wait() <= 0:
            connection = self.database.open()
            try:
                if last != self._transaction:
                    self._read_changes(connection)
                    self._transaction = last
                self._fire_what_is_due(connection)
            finally:
                transaction.abort()
                connection.close()
        return min(LONGEST_SLEEP, max(0.0, self._next_wait()))

    def _next_wait(self) -> float:
        """Seconds until the first schedule is due."""
        while self._heap:
            due, key = self._heap[0]
            if self._due.get(key) == due:
                return (due - clock.now_us()) / 1e6
            heapq.heappop(self._heap)
        return LONGEST_SLEEP

    def _expect(self, key: Key, due: int | None) -> None:
        """Look at this schedule then."""
        self._due[key] = due
        if due is not None:
            heapq.heappush(self._heap, (due, key))

    def _expect_slot(self, key: Key, slot: int | None) -> None:
        """The same for its next slot, unless another worker comes first."""
        if slot is not None and key not in self._own:
            slot += random.randint(*COURTESY)
        self._expect(key, slot)

    # What people change

    def _read_changes(self, connection: Any) -> None:
        transaction.begin()
        schedules = model.schedules_in(connection)
        if schedules is None:
            return
        schedules.changes._p_activate()
        changes = (schedules._p_oid, schedules.changes._p_serial)
        if changes == self._changes:
            return
        found: set[Key] = set()
        for site_key, of_site in schedules.items():
            try:
                require_readable(of_site)
            except TransactionError:
                raise
            except Exception as error:
                self._tell(site_key, "The schedules of %s cannot be read", error)
                continue
            for name, schedule in of_site.items():
                found.add((site_key, name))
                self._read((site_key, name), schedule)
        for key in self._due.keys() - found:
            del self._due[key]
            self._states.pop(key, None)
            self._told.pop(key, None)
            self._own.discard(key)
        self._changes = changes

    def _read(self, key: Key, schedule: Schedule) -> None:
        try:
            require_readable(schedule)
            state = (schedule._p_serial, schedule.site._p_serial)
            if self._states.get(key) == state:
                return
            slot = None
            if schedule.is_firing:
                slot = schedule.timing.next_after(schedule.decided_until)
            self._expect_slot(key, slot)
            self._states[key] = state
            self._told.pop(key, None)
        except TransactionError:
            raise
        except Exception as error:
            # One of them must not stop the others.
            self._tell(key, "The schedule %s cannot be read", error)
            self._expect(key, clock.now_us() + RETRY_BROKEN)

    # What is due

    def _fire_what_is_due(self, connection: Any) -> None:
        while not self._stopping.is_set() and self._next_wait() <= 0:
            _due, key = heapq.heappop(self._heap)
            self._due[key] = None
            try:
                self._fire(connection, key)
            except ClientDisconnected:
                self._expect(key, clock.now_us())
                raise

    def _fire(self, connection: Any, key: Key) -> None:
        now = clock.now_us()
        try:
            look = firing.fire_due(connection, *key)
        except ClientDisconnected:
            raise
        except TransactionError as error:
            logger.info("The schedule %s is tried again: %s", _named(key), error)
            self._expect(key, now + random.randint(1, RETRY_CONFLICT))
        except firing.SiteGone as error:
            self._tell(key, "The site of the schedule %s is gone", error)
            self._expect(key, now + RETRY_GONE)
        except (Exception, SystemExit) as error:
            # A module that is imported, or a subscriber, may want to end the process.
            self._tell(key, "The schedule %s could not be fired", error)
            self._expect(key, now + RETRY_BROKEN)
        else:
            self._told.pop(key, None)
            (self._own.add if look.fired else self._own.discard)(key)
            # If there is more to make up for, others that are due come before that.
            self._expect_slot(key, look.next and max(look.next, clock.now_us()))

    def _tell(self, key: Key | str, text: str, error: BaseException) -> None:
        """Log an error with its traceback, unless it is the one that was logged."""
        said = repr(error)
        if self._told.get(key) != said:
            self._told[key] = said
            logger.error(
                f"{text}: it is tried again later", _named(key), exc_info=error
            )

    # The storage

    def _require_storage(self) -> None:
        is_connected = getattr(self.database.storage, "is_connected", None)
        if is_connected is not None and not is_connected():
            raise ClientDisconnected("it is not connected")

    def _storage_is_away(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            logger.error("The storage is away (%s): no schedule fires", error)

    def _storage_is_back(self) -> None:
        if self._away:
            self._away = False
            logger.info("The storage is back: schedules fire")


def _named(key: Key | str) -> str:
    """What the log calls a schedule, or a site."""
    return key if isinstance(key, str) else f"{key[1]!r} of site {key[0]}"
