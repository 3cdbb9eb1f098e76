"""Schedules in the database: who declared what, and what became of it.

In the root of the queues' database, under `KEY`::

    Schedules ── site key ──► SiteSchedules ── name ──► Schedule ── record ──► Record
        └── changes

People write Schedules, SiteSchedules, Schedule and ``changes``, by the methods of these
classes. A Record is written by who fires, which is what decides that a slot fires once:
two workers that fire the same slot write the same record, and there is no conflict
resolution. A change of a schedule in the very moment in which it fires makes the firing
conflict, which decides anew then, because a firing asks for the present state of all
that it read (``readCurrent``).

While nothing fires and nobody changes anything, nothing is written.
"""

from __future__ import annotations

from BTrees.Length import Length
from collections.abc import Iterator
from collective.clockwork import identity
from collective.clockwork import world
from collective.clockwork.engine.base import Base
from collective.clockwork.engine.base import TreeMapping
from collective.clockwork.schedules.timing import Timing
from persistent import Persistent
from typing import Any
from typing import NamedTuple


#: Where the schedules are in the root of the queues' database.
KEY = "collective.clockwork.schedules"

#: Kinds of a `Firing`.
JOB = "job"
SKIPPED = "skipped"
MISSED = "missed"
REFUSED = "refused"


class Firing(NamedTuple):
    """What became of one slot, or of several in a row that had no job. Stored.

    All times are in microseconds, UTC. New fields are added at the end, with a default.
    """

    #: When it was due, the last one of several; None if run by hand.
    slot: int | None
    #: When it was decided.
    fired: int
    #: `JOB`, `SKIPPED`, `MISSED` or `REFUSED`.
    kind: str
    #: Id of the user who ran it by hand.
    by: str | None = None
    #: The job, which lives as long as this does; None for the other kinds.
    job: Any = None
    #: Why it was refused, for people.
    reason: str | None = None
    #: How many slots it stands for, and the first one of them.
    count: int = 1
    first: int | None = None


class Record(Persistent):
    """What became of a schedule's slots.

    Written by who fires, by who runs it by hand, and by who forgets the firings. On a
    conflict each of them looks again and does it anew.
    """

    #: Every slot up to this moment is decided; in microseconds.
    fired_until: int = 0
    #: The last firings, the newest last; at most ``keep`` of the schedule.
    firings: tuple[Firing, ...] = ()
    #: Jobs that may not have ended, the newest last; see ``outcomes.note_job``. They
    #: are known also when their firings are forgotten.
    pending: tuple[Any, ...] = ()

    def add(self, firing: Firing, keep: int) -> None:
        """Remember a firing, and forget the oldest ones beyond ``keep``.

        Slots in a row that were skipped, missed or refused for the same reason are one.
        """
        firings = self.firings
        if firings and _continues(firings[-1], firing):
            last, firings = firings[-1], firings[:-1]
            firing = firing._replace(
                count=last.count + firing.count, first=_first(last)
            )
        self.firings = (*firings, firing)[-keep:]

    def decide_until(self, slot: int) -> None:
        """Note that the slots up to this one are decided."""
        if slot > self.fired_until:
            self.fired_until = slot


def _first(firing: Firing) -> int | None:
    return firing.slot if firing.first is None else firing.first


def _continues(last: Firing, firing: Firing) -> bool:
    return (
        firing.kind != JOB
        and None not in (last.slot, firing.slot)
        and (last.kind, last.reason) == (firing.kind, firing.reason)
    )


class Schedule(Base):
    """What is to run when; its parent is the SiteSchedules.

    Written by people alone, and by set-up files: by `change` and `begin_anew`. Two who
    change it at once conflict, and the second one looks again.
    """

    #: Identifies it in its site; never changed.
    name: str = ""
    #: What it is called in lists; its name if it is empty.
    title: str = ""
    #: Name of the registered function, see `ISchedulable`.
    function: str = ""
    #: See `timing.Timing`, also for the three that follow.
    cron: str | None = None
    every: int | None = None
    timezone: str = "UTC"
    start: int = 0
    #: Where the user's folder was, when the site was at its ``site_path``, and her id.
    userfolder_path: tuple[str, ...] = ()
    user_id: str | None = None
    #: Path of the context from the site on, "" for the site, and its UID if it has one.
    context: str = ""
    context_uid: str | None = None
    #: Further arguments by name; JSON values. Replaced as a whole, never changed.
    arguments: dict[str, Any] = {}
    #: How late a firing may be, and by how much it is put off; microseconds.
    grace: int = 60_000_000
    jitter: int = 0
    #: See ``info.OVERLAPS`` and ``info.MISSED``.
    overlap: str = "skip"
    missed: str = "once"
    #: How many firings are remembered, 1 or more.
    keep: int = 20
    #: Quota of its jobs.
    quota: str = "default"
    #: Whether it fires.
    active: bool = True
    #: "zcml" for one that ZCML declares, else "site".
    origin: str = "site"
    #: Why it was switched off other than by a person; for people. None if it was not.
    problem: str | None = None
    #: What ZCML or a set-up file said of it last, attribute to value; None if neither
    #: did. What differs was changed by hand since. Replaced as a whole, never changed.
    declared: dict[str, Any] | None = None
    #: Nothing up to this moment is made up for; microseconds.
    since: int = 0
    #: As the request saw the site in which it was made: for the jobs' URLs and texts.
    language: str | None = None
    virtual_url: str | None = None
    virtual_root: tuple[str, ...] | None = None

    def __init__(self, name: str, **fields: Any) -> None:
        self.name = name
        self.record = Record()
        self._set(fields)

    @property
    def timing(self) -> Timing:
        """When it is due."""
        return Timing(self.cron, self.every, self.timezone, self.start)

    @property
    def site(self) -> SiteSchedules:
        """The schedules that it is one of."""
        return self.parent

    @property
    def label(self) -> str:
        """Its title, or its name."""
        return self.title or self.name

    @property
    def is_firing(self) -> bool:
        """Whether it fires at all: it and the schedules of its site are switched on."""
        return self.active and self.parent is not None and self.parent.enabled

    @property
    def decided_until(self) -> int:
        """The moment up to which nothing is to be done any more; microseconds."""
        return max(self.since, self.parent.since, self.record.fired_until)

    def change(self, **fields: Any) -> None:
        """Change these attributes; AttributeError for one that it does not have.

        The values were checked. Workers look at it within a second.
        """
        self._set(fields)
        self.tell_of_change()

    def begin_anew(self, now: int) -> None:
        """Make up for nothing that was before this moment (microseconds)."""
        self.change(since=now)

    def remember_request(self, site: Any) -> None:
        """Keep how the current request sees the site, if there is one."""
        self.language = world.current_language()
        self.virtual_url, self.virtual_root = world.current_virtual_host(site)

    def tell_of_change(self) -> None:
        """Have the workers look at it."""
        if self.parent is not None:
            self.parent.tell_of_change()

    def _set(self, fields: dict[str, Any]) -> None:
        for name, value in fields.items():
            if name not in FIELDS:
                raise AttributeError(f"a schedule has no field {name!r} to be set")
            setattr(self, name, value)


#: What `Schedule.change` changes.
FIELDS = frozenset(Schedule.__annotations__) - {"name"}


class SiteSchedules(TreeMapping):
    """The schedules of one site, by name; its parent is the Schedules.

    Written by people alone.
    """

    #: Where the site was when it got its first schedule, and its UID if it has one.
    #: The users' folders are meant from there.
    site_path: tuple[str, ...] = ()
    site_uid: str | None = None
    #: Its key in the Schedules.
    key: str = ""
    #: Whether they fire at all.
    enabled: bool = True
    #: Whether they fire no more because the add-on was uninstalled in the site.
    uninstalled: bool = False
    #: Nothing up to this moment is made up for; microseconds.
    since: int = 0

    def __init__(self, key: str, site_path: tuple[str, ...], site_uid: str | None):
        super().__init__()
        self.key = key
        self.site_path = site_path
        self.site_uid = site_uid

    def add(self, schedule: Schedule) -> None:
        """Add one; KeyError if there is one of that name."""
        if schedule.name in self._data:
            raise KeyError(f"there is a schedule {schedule.name!r} already; change it")
        schedule.parent = self
        self._data[schedule.name] = schedule
        self.tell_of_change()

    def remove(self, name: str) -> Schedule:
        """Take one out; KeyError if there is none of that name."""
        schedule = self._data.pop(name)
        # Written, so that who fires it at this moment conflicts.
        schedule.parent = None
        self.tell_of_change()
        return schedule

    def enable(self, now: int) -> None:
        """Let them fire, from this moment (microseconds) on."""
        if not self.enabled:
            self.enabled = True
            self.since = now
            self.tell_of_change()

    def disable(self) -> None:
        """Let none of them fire."""
        if self.enabled:
            self.enabled = False
            self.tell_of_change()

    def tell_of_change(self) -> None:
        """Have the workers look at all schedules of the database."""
        if self.parent is not None:
            self.parent.changes.change(1)


class Schedules(TreeMapping):
    """The schedules of all sites of a database: site key to SiteSchedules."""

    def __init__(self) -> None:
        super().__init__()
        #: Grows with each change by people, and merges those of several at once. The
        #: workers look at the schedules when it has changed.
        self.changes = Length()

    def of_site(self, site: Any) -> SiteSchedules | None:
        """Those of a site, which may have been renamed since; None if there are none.

        A copy of a site may have its UID: it does not get those of the other one.
        """
        uid, path = identity.uid_of(site), "/".join(site.getPhysicalPath())
        for key in (path,) if uid is None else (f"{uid} {path}", uid):
            found = self.get(key)
            if found is not None and identity.is_of_site(
                found.site_path, found.site_uid, site
            ):
                return found
        return None

    def for_site(self, site: Any) -> SiteSchedules:
        """Those of a site; made if there are none."""
        found = self.of_site(site)
        if found is None:
            path, uid = site.getPhysicalPath(), identity.uid_of(site)
            key = uid or "/".join(path)
            if key in self._data:
                # They are those of a site of which this one is a copy.
                key = f"{uid} {'/'.join(path)}"
            found = self._data[key] = SiteSchedules(key, path, uid)
            found.parent = self
        return found

    def all(self) -> Iterator[tuple[str, str, Schedule]]:
        """Site key, name and schedule of all of them."""
        for key, schedules in self.items():
            for name, schedule in schedules.items():
                yield key, name, schedule


def schedules_in(connection: Any) -> Schedules | None:
    """The schedules of the queues' database, to which this leads; None if none.

    Writes nothing.
    """
    return connection.root().get(KEY)


def make_schedules(connection: Any) -> Schedules:
    """The same; made if need be, in the caller's transaction."""
    root = connection.root()
    if KEY not in root:
        root[KEY] = Schedules()
        connection.add(root[KEY])
    return root[KEY]
