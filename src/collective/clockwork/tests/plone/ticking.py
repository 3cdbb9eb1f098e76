"""Layers, subscribers and an HTTP client for the tests of the ticks."""

from __future__ import annotations

from collective.clockwork import ticks
from collective.clockwork.interfaces import ITickEvent
from contextlib import contextmanager
from pathlib import Path
from plone.app.testing import FunctionalTesting
from plone.app.testing import IntegrationTesting
from plone.app.testing import PloneSandboxLayer
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import SITE_OWNER_PASSWORD
from plone.testing.zope import WSGI_SERVER_FIXTURE
from Products.Five.browser import BrowserView
from Products.SiteAccess.VirtualHostMonster import manage_addVirtualHostMonster
from zope.component import getGlobalSiteManager
from zope.component.hooks import getSite
from zope.configuration import xmlconfig
from zope.publisher.browser import TestRequest

import collective.clockwork
import re
import requests
import sys
import transaction
import types
import unittest


DOCUMENTATION = Path(__file__).parents[5] / "docs" / "ticks.rst"

#: View, event class, method
INTERVAL_TICKS = [
    ("tick_fifteen", ticks.IntervalTicks15Event, "fifteenMinutes"),
    ("tick_hourly", ticks.IntervalTicksHourlyEvent, "hourly"),
    ("tick_daily", ticks.IntervalTicksDailyEvent, "daily"),
    ("tick_weekly", ticks.IntervalTicksWeeklyEvent, "weekly"),
    ("tick_monthly", ticks.IntervalTicksMonthlyEvent, "monthly"),
]

VIEW_NAMES = ["tick"] + [name for name, _event, _method in INTERVAL_TICKS]

#: Seconds that a thread waits for another one before the test fails.
PATIENCE = 30


class TicksLayer(PloneSandboxLayer):
    """A Plone site with nothing of ours but ticks.zcml, and no profile.

    Beside it a view that writes and does not switch protection off.
    """

    def setUpZope(self, app, configurationContext):
        self.loadZCML("ticks.zcml", package=collective.clockwork)
        manage_addVirtualHostMonster(app, "virtual_hosting")
        define_module("clockwork_test_views", WritingView=WritingView)
        xmlconfig.string(
            """
            <configure xmlns="http://namespaces.zope.org/browser">
              <page name="writing" for="*" permission="cmf.ManagePortal"
                    class="clockwork_test_views.WritingView" />
            </configure>
            """,
            context=configurationContext,
        )

    def tearDownZope(self, app):
        app.manage_delObjects(["virtual_hosting"])
        del sys.modules["clockwork_test_views"]


class WritingView(BrowserView):
    def __call__(self):
        self.context.first = "written"
        return "OK"


class DocumentedLayer(PloneSandboxLayer):
    """With the product of docs/ticks.rst: both modules in one, and both ZCML files."""

    def setUpZope(self, app, configurationContext):
        define_module("myproduct", __path__=[])
        define_module("myproduct.tickers", "\n".join(code_blocks("python")))
        for zcml in code_blocks("xml")[:2]:
            xmlconfig.string(zcml, context=configurationContext)

    def tearDownZope(self, app):
        del sys.modules["myproduct.tickers"], sys.modules["myproduct"]


def define_module(name, source="", **names):
    """Make a module that ZCML can name."""
    module = types.ModuleType(name)
    module.__dict__.update(names)
    exec(source, module.__dict__)
    sys.modules[name] = module


def code_blocks(language):
    """The code blocks of the documentation in one language, in their order."""
    blocks = re.findall(
        rf"^\.\. code-block:: {language}\n\n((?:(?:    .*)?\n)+)",
        DOCUMENTATION.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    return [re.sub("^    ", "", block, flags=re.MULTILINE) for block in blocks]


TICKS_FIXTURE = TicksLayer()
TICKS_INTEGRATION = IntegrationTesting(bases=(TICKS_FIXTURE,), name="Ticks:Integration")
TICKS_HTTP = FunctionalTesting(
    bases=(TICKS_FIXTURE, WSGI_SERVER_FIXTURE), name="Ticks:HTTP"
)

DOCUMENTED_HTTP = FunctionalTesting(
    bases=(
        DocumentedLayer(bases=(TICKS_FIXTURE,), name="Ticks:Product"),
        WSGI_SERVER_FIXTURE,
    ),
    name="Ticks:Documented",
)


@contextmanager
def subscribed(*handlers, to=ITickEvent):
    """The handlers are registered in this order, globally."""
    registry = getGlobalSiteManager()
    for handler in handlers:
        registry.registerHandler(handler, (to,))
    try:
        yield
    finally:
        for handler in handlers:
            registry.unregisterHandler(handler, (to,))


def tick_view(context, interval=300):
    view = ticks.TickTriggerView(context, TestRequest())
    view.interval = interval
    return view


def write_first(event):
    getSite().first = "written"


def write_and_fail(event):
    getSite().broken = "written"
    raise RuntimeError("the printer is on fire")


def write_last(event):
    getSite().last = "written"


class HTTPTestCase(unittest.TestCase):
    """Calls as cron does, over a real server; reads by a fresh connection."""

    layer = TICKS_HTTP

    def setUp(self):
        self.root = f"http://{self.layer['host']}:{self.layer['port']}"
        self.site = f"{self.root}/plone"

    def get(self, url, user=SITE_OWNER_NAME, password=SITE_OWNER_PASSWORD, **kwargs):
        auth = (user, password) if user else None
        return requests.get(
            url, auth=auth, allow_redirects=False, timeout=PATIENCE, **kwargs
        )

    @contextmanager
    def stored(self):
        """The root of the application as another process would see it."""
        connection = self.layer["zodbDB"].open(transaction.TransactionManager())
        try:
            connection.cacheMinimize()
            yield connection.root()["Application"]
        finally:
            connection.close()

    def last_tick(self, path="plone"):
        with self.stored() as app:
            context = app[path] if path else app
            return tick_view(context).getLastTick()

    def attribute(self, name):
        with self.stored() as app:
            return getattr(app["plone"], name, None)
