"""What the tests of the pages of schedules share: functions, schedules, and buttons."""

from __future__ import annotations

from collective.clockwork.schedules import adoption
from collective.clockwork.schedules.directives import ScheduleDefinition
from collective.clockwork.schedules.functions import Schedulable
from collective.clockwork.schedules.interfaces import ISchedulable
from collective.clockwork.schedules.interfaces import IScheduleDefinition
from collective.clockwork.schedules.interfaces import IScheduler
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.browsercase import BrowserTestCase
from datetime import timedelta
from lxml import html
from plone.app.testing import login
from plone.app.testing import SITE_OWNER_NAME
from urllib.parse import urlencode
from zope.component import getGlobalSiteManager
from zope.component import getUtility

import transaction


NOTE = "collective.clockwork.tests.plone.work.note"
FAIL = "collective.clockwork.tests.plone.work.fail"

LIST = "@@background-schedules"
ONE = "@@background-schedule"
FORM = "@@background-schedule-edit"
PREVIEW = "@@background-schedule-preview"
TICKS = "@@background-ticks"
PAGES = (LIST, ONE, FORM, PREVIEW, TICKS)

PASSWORD = "correct horse battery"
STATUS = '//*[contains(@class, "statusmessage")]'

SCRIPT = "<script>window.attacked = 1</script>"

FUNCTIONS = {
    NOTE: (work.note, "Note a word", "Writes a word down, for whoever reads it."),
    FAIL: (work.fail, "Fetch news", "Fetches the news of other sites."),
}


def register_functions(test):
    """Let two functions be scheduled until the test is over."""
    registry = getGlobalSiteManager()
    for name, (function, title, description) in FUNCTIONS.items():
        schedulable = Schedulable(function, title, description)
        registry.registerUtility(schedulable, ISchedulable, name)
        test.addCleanup(registry.unregisterUtility, schedulable, ISchedulable, name)


def add(name, function=NOTE, **fields):
    """Add and commit a schedule, by cron unless it says otherwise."""
    if function == NOTE:
        fields.setdefault("arguments", {"word": name})
    if "every" not in fields:
        fields.setdefault("cron", "30 2 * * *")
    info = getUtility(IScheduler).add(name, function, **fields)
    transaction.commit()
    return info


def declare(test, name):
    """Have ZCML declare a schedule until the test is over, and adopt it."""
    fields = {"function": FAIL, "every": timedelta(hours=1), "user": SITE_OWNER_NAME}
    definition = ScheduleDefinition(name, fields, None)
    registry = getGlobalSiteManager()
    registry.registerUtility(definition, IScheduleDefinition, name)
    test.addCleanup(registry.unregisterUtility, definition, IScheduleDefinition, name)
    adoption.adopt_in(test.portal)
    transaction.commit()


def get(name):
    """The schedule as it is now; None if there is none."""
    transaction.begin()
    return getUtility(IScheduler).get(name)


class SchedulesTestCase(BrowserTestCase):
    real = True

    def setUp(self):
        super().setUp()
        login(self.layer["app"], SITE_OWNER_NAME)
        register_functions(self)
        self.scheduler = getUtility(IScheduler)
        # Plone's portlets write at the first visit.
        self.open(LIST)

    def page(self):
        return html.fromstring(self.browser.contents)

    def row(self, page, title):
        """The row of the list for the schedule of this title."""
        (row,) = page.xpath(f'//tbody/tr[th/a[text()="{title}"]]')
        return row

    def cells(self, page, title):
        """Texts of the columns, without those of boxes and buttons."""
        cells = self.row(page, title).xpath("td|th")
        texts = [" ".join(cell.text_content().split()) for cell in cells]
        return texts[2:-1]

    def press(self, name, value="1", view=LIST):
        """Press the button of this name and value on a page, as a browser does."""
        self.open(view)
        self.click(name, value)

    def click(self, name, value="1"):
        """Press such a button of the page that is open."""
        buttons = self.page().xpath(f'//button[@name="{name}"]/@value')
        self.browser.getControl(name=name, index=buttons.index(value)).click()

    def told(self):
        """What the page says above its content."""
        said = self.page().xpath(STATUS)
        return " ".join(" ".join(each.text_content().split()) for each in said)

    def token(self):
        self.open(LIST)
        return self.browser.getControl(name="_authenticator", index=0).value

    def post(self, view=LIST, browser=None, **form):
        browser = browser or self.browser
        browser.post(f"{self.portal.absolute_url()}/{view}", urlencode(form))

    def status(self, browser=None):
        return (browser or self.browser).headers["Status"][:3]
