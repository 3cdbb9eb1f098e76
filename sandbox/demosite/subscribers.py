"""Subscribers to the events of collective.clockwork."""

from __future__ import annotations

from collective.clockwork.interfaces import ITickEvent
from plone import api
from sandbox.demosite import records
from zope.component.hooks import getSite


def record_tick(event: ITickEvent) -> None:
    """Record who ticked, and when the next tick is due."""
    site = getSite()
    if site is None:
        return
    user = api.user.get_current().getId()
    next_tick = event.next_tick.asdatetime().isoformat(timespec="seconds")
    records.add(site, "tick", f"by {user}, the next at {next_tick}")
