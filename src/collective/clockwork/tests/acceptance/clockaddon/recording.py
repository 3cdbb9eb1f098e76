"""Subscribers that write, and a view that a test holds."""

from __future__ import annotations

from pathlib import Path
from persistent.list import PersistentList
from plone import api
from Products.Five.browser import BrowserView
from threading import Event
from zope.component.hooks import getSite

import os
import time


#: Seconds after which a call that nobody let go fails.
PATIENCE = 120

#: Names of the site's lists, one for each kind of event, so that they don't conflict.
LISTS = ("ticks", "hours", "days")


def prepare(site) -> None:
    for name in LISTS:
        setattr(site, name, PersistentList())
    site.held = 0


def on_tick(event) -> None:
    getSite().ticks.append(_entry(getSite()))


def on_hour(event) -> None:
    event.context.hours.append(_entry(event.context))


def on_day(event) -> None:
    event.context.days.append(_entry(event.context))


def _entry(site) -> tuple[str, str, int]:
    """Address, user and process."""
    return site.absolute_url(), api.user.get_current().getId(), os.getpid()


class HoldingView(BrowserView):
    """Says that it was called, waits for a file, and counts in the database.

    It does nothing before there is a file that wants it.

    It doesn't switch the protection against forged requests off.
    """

    def __call__(self) -> str:
        directory = Path(self.request.form["directory"])
        if not (directory / "wanted").exists():
            return "not yet"
        with (directory / "begun").open("a") as begun:
            begun.write("x")
        deadline = time.monotonic() + PATIENCE
        while not (directory / "release").exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not released in {PATIENCE} seconds")
            Event().wait(0.05)
        self.context.held += 1
        return "done"
