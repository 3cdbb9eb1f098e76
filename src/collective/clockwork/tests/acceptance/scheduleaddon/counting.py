"""Schedules whose firings and jobs are counted in the database, each in its commit."""

from __future__ import annotations

from BTrees.LOBTree import LOBTree
from BTrees.OOBTree import OOBTree
from collective.clockwork.schedules.interfaces import IScheduler
from datetime import timedelta
from datetime import timezone
from plone.app.testing import applyProfile
from plone.protect.interfaces import IDisableCSRFProtection
from Products.CMFPlone.factory import addPloneSite
from Products.Five.browser import BrowserView
from zope.annotation.interfaces import IAnnotations
from zope.component import getUtility
from zope.component.hooks import getSite
from zope.component.hooks import setSite
from zope.interface import alsoProvides

import json


KEY = "collective.clockwork.tests.acceptance.counting"


def counts(site) -> OOBTree:
    """Name of a schedule to slots with the times that each has fired, and job counts.

    A slot is in whole seconds. The jobs of a schedule are counted under 0.
    """
    return IAnnotations(site).setdefault(KEY, OOBTree())


def tree_of(name: str) -> LOBTree:
    """The tree of one schedule of the current site."""
    trees = counts(getSite())
    if name not in trees:
        trees[name] = LOBTree()
    return trees[name]


def note_slot(event) -> None:
    """Subscriber: count the slot in the transaction that fires it."""
    tree = tree_of(event.name)
    slot = round(event.slot.timestamp())
    tree[slot] = tree.get(slot, 0) + 1


def count(context, name: str) -> None:
    """The scheduled function."""
    tree = tree_of(f"jobs of {name}")
    tree[0] = tree.get(0, 0) + 1


class WritingView(BrowserView):
    """What a test calls without a form whose token it could send."""

    def __call__(self) -> str:
        alsoProvides(self.request, IDisableCSRFProtection)
        self.request.response.setHeader("Content-Type", "application/json")
        return json.dumps(self.answer(self.request.form))


class AddSchedule(WritingView):
    """Adds one of the request's ``name``, ``every`` (seconds) and ``missed``."""

    def answer(self, form):
        name = form["name"]
        getUtility(IScheduler).add(
            name,
            count,
            every=timedelta(seconds=int(form["every"])),
            missed=form["missed"],
            grace=timedelta(seconds=int(form["grace"])),
            overlap="both",
            keep=100,
            arguments={"name": name},
        )


class StopSchedule(WritingView):
    """Deactivates the schedule of this ``name``."""

    def answer(self, form):
        getUtility(IScheduler).deactivate(form["name"])


class FiredJSON(WritingView):
    """What was counted of the schedule ``name``, and its firings, oldest first."""

    def answer(self, form):
        name = form["name"]
        trees = IAnnotations(self.context).get(KEY, {})
        firings = [
            {
                "slot": round(info.slot.timestamp()),
                "fired": info.fired.astimezone(timezone.utc).timestamp(),
                "status": info.status,
            }
            for info in reversed(getUtility(IScheduler).firings(name))
        ]
        return {
            "slots": list(dict(trees.get(name, {})).items()),
            "jobs": trees.get(f"jobs of {name}", {}).get(0, 0),
            "firings": firings,
        }


class AddSecondSite(WritingView):
    """Adds a site ``second`` beside this one."""

    def answer(self, form):
        root = self.context.getPhysicalRoot()
        site = addPloneSite(root, "second")
        setSite(site)
        applyProfile(site, "collective.clockwork:default")
