"""Ticks of a site, enabled by a call and counted in the database."""

from __future__ import annotations

from collective.clockwork.schedules import ticking
from collective.clockwork.schedules.interfaces import IScheduler
from collective.clockwork.tests.acceptance.scheduleaddon.counting import counts
from collective.clockwork.tests.acceptance.scheduleaddon.counting import tree_of
from collective.clockwork.tests.acceptance.scheduleaddon.counting import WritingView
from collective.clockwork.ticks import INTERVAL_RECORD
from plone import api
from zope.component import getUtility


#: Under which they are counted.
SENT = "ticks sent"


class EnableTicks(WritingView):
    """Has the site ticked at this ``interval``, in seconds."""

    def answer(self, form):
        api.portal.set_registry_record(INTERVAL_RECORD, int(form["interval"]))
        ticking.enable()


class ScheduleNames(WritingView):
    """The schedules of the site."""

    def answer(self, form):
        return [info.name for info in getUtility(IScheduler).list()]


class TicksSent(WritingView):
    """The seconds in which there were ticks, and how many in each."""

    def answer(self, form):
        return list(dict(counts(self.context).get(SENT, {})).items())


def count_tick(event) -> None:
    """Subscriber of ITickEvent: count it by its second, in the tick's transaction."""
    tree = tree_of(SENT)
    second = int(event.date_time.timeTime())
    tree[second] = tree.get(second, 0) + 1
