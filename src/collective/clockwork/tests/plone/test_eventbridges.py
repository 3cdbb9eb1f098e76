"""Events of Zope into the event dispatcher, and its events into jobs."""

from __future__ import annotations

from collective.clockwork import eventbridges
from collective.clockwork.engine.errors import OptionError
from collective.clockwork.eventbridges import QueueJob
from collective.clockwork.eventdispatcher import event_details
from collective.clockwork.eventdispatcher import EventDispatcher
from collective.clockwork.eventdispatcher import IEventDispatcher
from collective.clockwork.testing import assert_not_queued
from collective.clockwork.testing import assert_queued
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import bridged
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.startupcase import StartupTestCase
from collective.clockwork.ticks import IntervalTicksDailyEvent
from collective.clockwork.ticks import TickEvent
from plone import api
from plone.app.testing import TEST_USER_ID
from twisted.internet.defer import Deferred
from ZODB.POSException import ConflictError
from zope.component import getGlobalSiteManager
from zope.component import getUtility
from zope.component import queryUtility
from zope.component.hooks import setSite
from zope.event import notify
from zope.lifecycleevent import ObjectCreatedEvent
from zope.lifecycleevent import ObjectModifiedEvent

import subprocess
import sys
import transaction


ADDED = "zope.lifecycleevent.interfaces.IObjectAddedEvent"
MODIFIED = "zope.lifecycleevent.interfaces.IObjectModifiedEvent"
REMOVED = "zope.lifecycleevent.interfaces.IObjectRemovedEvent"
MOVED_AWAY = "OFS.interfaces.IObjectWillBeRemovedEvent"

LOAD_WITHOUT_TWISTED = """
import sys
sys.modules["twisted"] = None
from zope.configuration import xmlconfig
import collective.clockwork
import zope.component
context = xmlconfig.file("meta.zcml", zope.component)
xmlconfig.file("service.zcml", collective.clockwork, context=context)
print("everything else is there")
xmlconfig.file("eventdispatcher.zcml", collective.clockwork, context=context)
"""


class BridgeTestCase(StartupTestCase):
    def setUp(self):
        super().setUp()
        self.load("eventdispatcher.zcml")
        self.dispatcher = getUtility(IEventDispatcher)
        self.heard = []
        bridged.done.clear()

    def listen(self, **spec):
        def note(event):
            self.heard.append((event, dict(event_details())))

        self.dispatcher.add_event_handler(note, "during", False, **spec)

    def on(self, handler, **spec):
        self.dispatcher.add_event_handler(handler, "after", False, **spec)

    def details(self):
        return [details for _event, details in self.heard]


class TestEventsOfZope(BridgeTestCase):
    def test_the_file_registers_a_dispatcher_that_is_started(self):
        self.assertIsInstance(self.dispatcher, EventDispatcher)
        self.assertTrue(self.dispatcher.running)
        self.assertEqual(
            eventbridges.KEYWORDS, self.dispatcher.allowed_match_spec_keywords
        )

    def test_an_event_of_content_comes_with_its_details(self):
        self.listen(event_type=MODIFIED)
        event = ObjectModifiedEvent(self.folder)
        notify(event)
        ((heard, details),) = self.heard
        self.assertIs(event, heard)
        self.assertEqual(
            {
                "event_type": MODIFIED,
                "portal_type": "Folder",
                "path": "/plone/folder",
                "site": "/plone",
            },
            details,
        )

    def test_handlers_may_ask_for_a_type_or_a_path(self):
        self.listen(event_type=ADDED, portal_type="Document")
        self.listen(event_type=ADDED, path="/plone/folder/one")
        for page_id in ("one", "two"):
            api.content.create(self.folder, "Document", page_id)
        api.content.create(self.folder, "Event", "three")
        self.assertEqual(
            ["/plone/folder/one", "/plone/folder/one", "/plone/folder/two"],
            [details["path"] for details in self.details()],
        )

    def test_ticks_come_too(self):
        self.listen(site="/plone")
        tick = TickEvent("2026-11-21", "2026-11-22")
        notify(tick)
        notify(IntervalTicksDailyEvent(self.portal))
        names = "collective.clockwork.interfaces"
        self.assertEqual(
            [
                {"event_type": f"{names}.ITickEvent", "site": "/plone"},
                {
                    "event_type": f"{names}.IIntervalTicksDailyEvent",
                    "portal_type": "Plone Site",
                    "path": "/plone",
                    "site": "/plone",
                },
            ],
            self.details(),
        )

    def test_an_event_without_interface_has_its_class_as_type(self):
        self.listen()
        eventbridges.fire_zope_event(bridged.Bare())
        name = "collective.clockwork.tests.plone.bridged.Bare"
        self.assertEqual([{"event_type": name, "site": "/plone"}], self.details())

    def test_what_is_in_no_folder_or_has_no_id_yet_has_no_path(self):
        self.assertEqual("/", self._path_of(self.layer["app"]))
        self.assertEqual("/plone/folder", self._path_of(self.folder))
        page = bridged.Page()
        self.assertIsNone(self._path_of(page))
        for page_id in ("", None):
            page.id = page_id
            self.assertIsNone(self._path_of(page))
            self.assertIsNone(self._path_of(page.__of__(self.folder)))

    def _path_of(self, obj):
        return eventbridges.details_of(ObjectCreatedEvent(obj))["path"]

    def test_without_a_site_there_is_none_among_the_details(self):
        self.listen()
        setSite(None)
        eventbridges.fire_zope_event(TickEvent("2026-11-21", "2026-11-22"))
        (details,) = self.details()
        self.assertNotIn("site", details)

    def test_a_stopped_dispatcher_gets_none_and_logs_nothing(self):
        self.listen()
        self.dispatcher.stop()
        with self.assertNoLogs("collective.clockwork"):
            notify(ObjectModifiedEvent(self.folder))
        self.assertEqual([], self.heard)

    def test_a_dispatcher_with_other_keywords_gets_those_that_it_allows(self):
        self.dispatcher = EventDispatcher(("portal_type", "role"))
        self.dispatcher.start()
        getGlobalSiteManager().registerUtility(self.dispatcher, IEventDispatcher)
        self.listen(portal_type="Folder")
        notify(ObjectModifiedEvent(self.folder))
        self.assertEqual([{"portal_type": "Folder"}], self.details())

    def test_without_a_dispatcher_nothing_happens(self):
        getGlobalSiteManager().unregisterUtility(self.dispatcher, IEventDispatcher)
        self.assertIsNone(queryUtility(IEventDispatcher))
        notify(ObjectModifiedEvent(self.folder))

    def test_a_handler_that_fails_does_not_fail_the_request(self):
        def fail(event):
            raise RuntimeError("as the test asked")

        self.on(fail)
        self.listen()
        with self.assertLogs("collective.clockwork", "ERROR") as logs:
            notify(ObjectModifiedEvent(self.folder))
        self.assertIn("fail failed in phase after", logs.output[0])
        transaction.commit()
        self.assertEqual(1, len(self.heard))

    def test_an_event_that_a_handler_causes_comes_after_its_own(self):
        def add_page(event):
            api.content.create(event.object, "Document", "page")
            self.heard.append(("added", {}))

        self.on(add_page, event_type=MODIFIED, portal_type="Folder")
        self.listen(event_type=ADDED)
        with self.assertNoLogs("collective.clockwork"):
            notify(ObjectModifiedEvent(self.folder))
        self.assertEqual("added", self.heard[0][0])
        self.assertEqual("/plone/folder/page", self.heard[1][1]["path"])

    def test_a_handler_that_waits_is_logged_as_an_error(self):
        gate = Deferred()
        self.on(lambda event: gate, event_type=MODIFIED)
        with self.assertLogs("collective.clockwork", "ERROR") as logs:
            notify(ObjectModifiedEvent(self.folder))
        said = "waits for a Deferred, on an event of type %s"
        self.assertIn(said % MODIFIED, logs.output[0])
        gate.callback(None)
        with self.assertNoLogs("collective.clockwork"):
            eventbridges.fire_zope_event(bridged.Bare())

    def test_a_conflict_in_a_handler_has_the_request_repeated(self):
        def conflict(event):
            raise ConflictError("as the test asked")

        self.on(conflict, event_type=MODIFIED)
        self.folder.title = "Changed"
        with self.assertLogs("collective.clockwork", "ERROR"):
            notify(ObjectModifiedEvent(self.folder))
        with self.assertRaisesRegex(ConflictError, "as the test asked"):
            transaction.commit()
        transaction.abort()
        self.assertNotEqual("Changed", self.folder.title)


class TestJobs(BridgeTestCase):
    def test_an_event_becomes_a_job_for_its_object_as_the_same_user(self):
        self.on(QueueJob(bridged.note), event_type=MODIFIED)
        notify(ObjectModifiedEvent(self.folder))
        transaction.commit()
        self.assertEqual([], bridged.done)
        job = assert_queued(bridged.note, self.folder)
        self.assertEqual(
            {
                "event_type": MODIFIED,
                "portal_type": "Folder",
                "path": "/plone/folder",
                "site": "/plone",
            },
            job.args[0],
        )
        self.assertIs(dict, type(job.args[0]))
        drain()
        self.assertEqual(
            [("/plone/folder", TEST_USER_ID, "/plone/folder")], bridged.done
        )

    def test_no_job_is_left_of_a_transaction_that_is_aborted(self):
        self.on(QueueJob(bridged.note), event_type=MODIFIED)
        notify(ObjectModifiedEvent(self.folder))
        transaction.abort()
        assert_not_queued(bridged.note)

    def test_what_is_removed_leaves_the_job_to_the_site(self):
        self.on(QueueJob(bridged.note), event_type=MOVED_AWAY)
        self.on(QueueJob(bridged.note), event_type=REMOVED)
        api.content.delete(self.folder, check_linkintegrity=False)
        transaction.commit()
        drain()
        self.assertEqual([("/plone", TEST_USER_ID, "/plone/folder")] * 2, bridged.done)

    def test_what_is_in_no_folder_yet_leaves_the_job_to_the_site(self):
        self.on(QueueJob(bridged.note), portal_type="Document")
        eventbridges.fire_zope_event(ObjectCreatedEvent(bridged.Page()))
        assert_queued(bridged.note, self.portal)

    def test_the_context_may_be_chosen(self):
        handler = QueueJob(bridged.note, context=lambda event: self.portal)
        self.on(handler, event_type=MODIFIED)
        notify(ObjectModifiedEvent(self.folder))
        assert_queued(bridged.note, self.portal)

    def test_a_job_has_the_options_of_the_handler(self):
        handler = QueueJob(bridged.note, title="Note it", quota="default")
        self.on(handler, event_type=MODIFIED)
        notify(ObjectModifiedEvent(self.folder))
        transaction.commit()
        (info,) = self.service.findJobs()
        self.assertEqual("Note it", info.title)

    def test_a_decorated_function_has_its_own_options(self):
        self.on(QueueJob(bridged.note_once), event_type=MODIFIED)
        for _ in range(2):
            notify(ObjectModifiedEvent(self.folder))
        transaction.commit()
        (info,) = self.service.findJobs()
        self.assertTrue(info.function.endswith("note_once"))

    def test_other_dispatchers_events_become_jobs_too(self):
        dispatcher = EventDispatcher(("user",))
        dispatcher.start()
        dispatcher.add_event_handler(QueueJob(bridged.note), "during", False)
        dispatcher.fire_event(object(), user="bob")
        job = assert_queued(bridged.note, self.portal)
        self.assertEqual({"user": "bob"}, job.args[0])

    def test_a_job_that_causes_its_own_event_is_not_queued_again(self):
        self.on(QueueJob(bridged.modify), event_type=MODIFIED)
        notify(ObjectModifiedEvent(self.folder))
        transaction.commit()
        with self.assertLogs("collective.clockwork", "WARNING") as logs:
            drain()
        self.assertIn("bridged.modify is not queued", "".join(logs.output))
        self.assertEqual("Modified", self.folder.title)
        assert_not_queued(bridged.modify)

    def test_what_cannot_be_stored_is_logged_and_fails_nothing_else(self):
        self.dispatcher.allowed_match_spec_keywords += ("thing",)
        self.on(QueueJob(bridged.note))
        with self.assertLogs("collective.clockwork", "ERROR") as logs:
            self.dispatcher.fire_event(object(), thing=work)
        self.assertIn("QueueJob(", logs.output[0])
        self.assertIn("bridged.note) failed", logs.output[0])
        assert_not_queued(bridged.note)

    def test_what_no_worker_could_do_is_refused_when_the_handler_is_made(self):
        with self.assertRaisesRegex(ValueError, "a lambda"):
            QueueJob(lambda context, details: None)
        with self.assertRaisesRegex(OptionError, "'titel' is no option"):
            QueueJob(bridged.note, titel="Note it")
        with self.assertRaisesRegex(TypeError, "pass a function that takes the event"):
            QueueJob(bridged.note, context=self.folder)


class TestWithoutTwisted(StartupTestCase):
    def test_the_file_says_what_to_install(self):
        command = [sys.executable, "-c", LOAD_WITHOUT_TWISTED]
        said = subprocess.run(command, capture_output=True, text=True, timeout=170)
        self.assertNotEqual(0, said.returncode)
        self.assertIn("everything else is there", said.stdout)
        self.assertIn("install collective.clockwork[twisted]", said.stderr)
