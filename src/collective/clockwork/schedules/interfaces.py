"""What schedules offer to other code; see ``docs/schedules.rst``."""

from __future__ import annotations

from zope.interface import Attribute
from zope.interface import Interface


class IScheduler(Interface):
    """The schedules of the current site; a utility.

    Every method is part of the caller's transaction, and raises LookupError without a
    current site. All but ``preview``, ``functions`` and ``is_enabled`` raise
    Unauthorized unless the current user may manage background jobs in the site.
    """

    def add(name, function, **fields):
        """Add a schedule; its ``ScheduleInfo``.

        ``name`` identifies it in the site: 1 to 100 printable characters. ``function``
        is a registered function, its name (see ``functions``), or the function itself.
        Of the fields, those of `ScheduleInfo` that can be set, ``cron`` or ``every``
        is required. ``user`` is a user id; it is the current user's if it is not given.

        ValueError (TypeError for another type) for what makes no sense, with nothing
        stored; KeyError if there is a schedule of that name; Unauthorized for a user
        who has roles that the current one does not have, or is one of the Zope root
        while the current one is not.
        """

    def change(name, **fields):
        """Change fields of a schedule; its new ``ScheduleInfo``.

        Raises what ``add`` raises; LookupError if there is no such schedule. One of
        ``cron`` and ``every`` takes the place of the other. With another time or time
        zone it begins anew: no firing before this moment is made up for. Function,
        arguments, context and user are changed by those alone who could name the
        user as whom it then runs.
        """

    def remove(name):
        """Remove a schedule; LookupError if none. Its queued jobs are still done.

        ValueError for one that ZCML declares for the site: it would come back.
        """

    def get(name):
        """The ``ScheduleInfo`` of this name; None if there is none."""

    def list():
        """The ``ScheduleInfo`` of all schedules, by name."""

    def activate(name):
        """Let it fire from now on; nothing is made up for. LookupError if none."""

    def deactivate(name):
        """Let it fire no more; what it has queued already is done."""

    def run_now(name):
        """Queue its function now, whether it is active or not; the job.

        It changes nothing in the times at which it fires. ValueError if it cannot be
        queued, because its user is gone, for instance.
        """

    def firings(name):
        """``FiringInfo`` of the last firings, newest first. LookupError if none."""

    def forget_firings(name):
        """Forget the firings that are over."""

    def preview(*, cron=None, every=None, timezone=None, start=None, count=5):
        """The next ``count`` moments of such a schedule, as datetimes in its zone.

        ValueError (TypeError) for what makes no sense.
        """

    def functions():
        """The ``FunctionInfo`` of all functions that can be scheduled, by title."""

    def is_enabled():
        """Whether the schedules of this site fire at all."""

    def enable():
        """Let the active schedules of this site fire from now on."""

    def disable():
        """Let none of them fire; each keeps its own switch."""


class ISchedulable(Interface):
    """A function that can be scheduled: a utility, named as the function is called.

    It is called as a job with the schedule's context and its arguments.
    """

    function = Attribute("The function, found again by its dotted name.")
    title = Attribute("What people choose it by; an i18n message.")
    description = Attribute("What it does, in a sentence; an i18n message or empty.")


class IScheduleDefinition(Interface):
    """A schedule that ZCML declares for sites; a utility, by the schedule's name."""

    name = Attribute("Name of the schedule.")
    fields = Attribute("Mapping of the fields that ``IScheduler.add`` takes.")
    layer = Attribute("Browser layer of the sites that get it; None for all sites.")


class IScheduleChanged(Interface):
    """A schedule of the current site was added, changed or removed."""

    name = Attribute("Name of the schedule.")
    info = Attribute("Its new ``ScheduleInfo``; None if it was removed.")


class IScheduleFired(Interface):
    """A schedule has queued a job, in this transaction.

    That the job ended is told by ``IJobSuccess`` or ``IJobFailure``.
    """

    name = Attribute("Name of the schedule.")
    slot = Attribute("Moment at which it was due, in UTC; None if run by hand.")
    job = Attribute("The job.")
