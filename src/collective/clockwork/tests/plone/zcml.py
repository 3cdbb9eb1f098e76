"""Directives that hold for one test."""

from __future__ import annotations

from functools import partial
from zope.component import getGlobalSiteManager
from zope.component.hooks import getSite
from zope.component.hooks import setSite
from zope.configuration import xmlconfig


def load_views(text, add_cleanup):
    """Register the views of this ZCML for all sites, until the end of the test."""
    registry = getGlobalSiteManager()
    before = adapters_of(registry)
    site = getSite()
    setSite(None)
    xmlconfig.string(text)
    setSite(site)
    for new in adapters_of(registry) - before:
        add_cleanup(partial(registry.unregisterAdapter, *new))


def adapters_of(registry):
    """What identifies each; the registrations are made anew for each look."""
    return {
        (each.factory, each.required, each.provided, each.name)
        for each in registry.registeredAdapters()
    }
