"""Schedules that ZCML declares come into the sites: when a worker starts, and when a
profile was imported.

A site gets those of its browser layers; what is declared for no layer is for all sites
that have this add-on. ZCML is trusted, so it may name any user.

A declaration that is gone, or whose layer is, leaves its schedule in the site, switched
off. All workers of a database therefore need the same ZCML.
"""

from __future__ import annotations

from Acquisition import aq_parent
from collections.abc import Iterator
from collective.clockwork import _
from collective.clockwork import identity
from collective.clockwork.engine import clock
from collective.clockwork.interfaces import IClockworkLayer
from collective.clockwork.schedules import declaring
from collective.clockwork.schedules import describing
from collective.clockwork.schedules import editing
from collective.clockwork.schedules import model
from collective.clockwork.schedules.interfaces import IScheduleDefinition
from OFS.Folder import Folder
from plone.browserlayer.utils import registered_layers
from Products.CMFCore.interfaces import ISiteRoot
from transaction.interfaces import TransactionError
from typing import Any
from zope.component import getUtilitiesFor
from zope.component import queryUtility
from zope.component.hooks import site as current

import logging
import transaction


logger = logging.getLogger("collective.clockwork.schedules")

#: How often it is done anew when another worker has adopted the same.
ATTEMPTS = 10

#: The profile that uninstalls this add-on.
UNINSTALL = "collective.clockwork:uninstall"

#: Key among what was declared, from when the declaration is gone until it is back:
#: whether the schedule was active.
WITHDRAWN = "withdrawn"


def adopt(database: Any) -> None:
    """Adopt in all sites that use this database for their queues.

    In transactions of its own, one for each site, with the thread's transaction
    manager. A site that fails is logged, and the others are gone on with. Raises
    TransactionError if the storage is away.
    """
    connection = database.open()
    try:
        transaction.begin()
        paths = [
            site.getPhysicalPath() for site in _sites(identity.application(connection))
        ]
        for path in paths:
            _adopt_at(connection, path)
    finally:
        transaction.abort()
        connection.close()


def adopt_in(site: Any) -> None:
    """Adopt in this site, in the caller's transaction. It must be the current one.

    Nothing is written if nothing has changed.
    """
    layers = registered_layers()
    if IClockworkLayer not in layers:
        return
    schedules = editing.schedules_of(site)
    if schedules is not None and schedules.uninstalled:
        schedules.uninstalled = False
        schedules.enable(clock.now_us())
    wanted = {
        name: definition
        for name, definition in getUtilitiesFor(IScheduleDefinition)
        if definition.layer is None or definition.layer in layers
    }
    for name, definition in sorted(wanted.items()):
        _adopt(site, name, definition)
    for name, schedule in sorted((schedules or {}).items()):
        if schedule.origin == "zcml" and name not in wanted:
            _withdraw(site, schedule)


def adopt_after_import(event: Any) -> None:
    """Handler of IProfileImportedEvent: the site may have other layers now.

    Of a site in which the add-on was uninstalled nothing fires until it is installed
    again.
    """
    site = aq_parent(event.tool)
    if not ISiteRoot.providedBy(site):
        return
    with current(site):
        # Of an archive that somebody uploads there is none.
        if (event.profile_id or "").removeprefix("profile-") == UNINSTALL:
            _switch_off(site)
        adopt_in(site)


def is_declared(site: Any, name: str) -> bool:
    """Whether ZCML declares a schedule of this name for the current site."""
    definition = queryUtility(IScheduleDefinition, name)
    return definition is not None and (
        definition.layer is None or definition.layer in registered_layers()
    )


def _sites(folder: Any) -> Iterator[Any]:
    """All sites in a folder of the Zope root."""
    for place in folder.objectValues():
        if ISiteRoot.providedBy(place):
            yield place
        elif isinstance(place, Folder):
            yield from _sites(place)


def _adopt_at(connection: Any, path: identity.Path) -> None:
    try:
        for attempt in transaction.manager.attempts(ATTEMPTS):
            with attempt:
                app = identity.application(connection)
                site = identity.traversed(app, path)
                if ISiteRoot.providedBy(site):
                    with current(site):
                        adopt_in(site)
    except TransactionError:
        raise
    except Exception:
        # What is wrong with one site must not keep schedules from the others.
        logger.exception(
            "The schedules that ZCML declares could not be given to %s", "/".join(path)
        )


def _switch_off(site: Any) -> None:
    schedules = editing.schedules_of(site)
    if schedules is not None and schedules.enabled:
        schedules.uninstalled = True
        schedules.disable()


def _adopt(site: Any, name: str, definition: Any) -> None:
    where = "/".join(site.getPhysicalPath())
    schedule = editing.find(site, name)
    if schedule is not None and schedule.origin != "zcml":
        logger.warning(
            "%s has a schedule %r of its own, which is kept: the one that ZCML "
            "declares by that name is not there",
            where,
            name,
        )
        return
    values = editing.attributes(site, definition.fields)
    if values["user_id"] is None:
        # Somebody has to answer for what is done.
        values["active"] = False
    if schedule is None:
        logger.info("%s gets the schedule %r of ZCML", where, name)
    elif WITHDRAWN in (schedule.declared or {}):
        _bring_back(schedule)
    kept = declaring.declare(site, name, values, origin="zcml")
    if kept:
        logger.info(
            "The schedule %r of %s was changed by hand, and keeps: %s",
            name,
            where,
            ", ".join(kept),
        )


def _withdraw(site: Any, schedule: model.Schedule) -> None:
    declared = schedule.declared or {}
    if WITHDRAWN in declared:
        return
    schedule.change(
        declared={**declared, WITHDRAWN: schedule.active},
        active=False,
        problem=_("ZCML declares it no more."),
    )
    describing.tell_of_change(site, schedule)
    logger.warning(
        "The schedule %r of %s is switched off, because ZCML declares it no more",
        schedule.name,
        "/".join(site.getPhysicalPath()),
    )


def _bring_back(schedule: model.Schedule) -> None:
    declared = dict(schedule.declared)
    was_active = declared.pop(WITHDRAWN)
    if was_active and not schedule.active:
        schedule.begin_anew(clock.now_us())
        schedule.change(active=True)
    schedule.change(declared=declared, problem=None)
