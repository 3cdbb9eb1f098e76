"""Ticks over a real HTTP server, as cron calls them, and the documentation."""

from __future__ import annotations

from AccessControl import getSecurityManager
from BTrees.OOBTree import OOBTree
from collective.clockwork import interfaces
from collective.clockwork import ticks
from collective.clockwork.interfaces import IIntervalTicksGenericEvent
from collective.clockwork.tests.plone.ticking import code_blocks
from collective.clockwork.tests.plone.ticking import DOCUMENTATION
from collective.clockwork.tests.plone.ticking import DOCUMENTED_HTTP
from collective.clockwork.tests.plone.ticking import HTTPTestCase
from collective.clockwork.tests.plone.ticking import INTERVAL_TICKS
from collective.clockwork.tests.plone.ticking import PATIENCE
from collective.clockwork.tests.plone.ticking import subscribed
from collective.clockwork.tests.plone.ticking import tick_view
from collective.clockwork.tests.plone.ticking import VIEW_NAMES
from collective.clockwork.tests.plone.ticking import write_and_fail
from collective.clockwork.tests.plone.ticking import write_first
from collective.clockwork.tests.plone.ticking import write_last
from DateTime import DateTime
from pathlib import Path
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import SITE_OWNER_PASSWORD
from plone.app.testing import TEST_USER_NAME
from plone.app.testing import TEST_USER_PASSWORD
from plone.testing import zca
from plone.testing.zope import STARTUP
from Products.Five.browser import BrowserView
from transaction.interfaces import IDataManager
from ZODB.POSException import ConflictError
from zope.component import getMultiAdapter
from zope.component.hooks import getSite
from zope.configuration import xmlconfig
from zope.interface import implementer
from zope.publisher.browser import TestRequest

import os
import re
import subprocess
import sys
import tempfile
import threading
import transaction
import unittest


#: What ``collective.clockwork.ticks`` loads of ours, in this order.
TICK_MODULES = ("interfaces", "tickevents", "ticktimes", "ticks")


class HTTPTests(HTTPTestCase):
    def test_what_a_subscriber_of_tick_writes_and_the_timing_are_stored(self):
        with subscribed(write_first):
            answer = self.get(f"{self.site}/@@tick")

        self.assertEqual((answer.status_code, answer.text), (200, "OK"))
        self.assertEqual(answer.headers["Cache-Control"], "no-store")
        self.assertEqual(self.attribute("first"), "written")
        self.assertIsNotNone(self.last_tick())

    def test_the_same_write_in_a_view_that_does_not_switch_protection_off_is_lost(self):
        answer = self.get(f"{self.site}/@@writing")

        self.assertEqual((answer.status_code, answer.text), (200, "OK"))
        self.assertIsNone(self.attribute("first"))

    def test_what_subscribers_of_the_interval_ticks_write_is_stored(self):
        def count(event):
            event.context.ticks = getattr(event.context, "ticks", 0) + 1

        with subscribed(count, to=IIntervalTicksGenericEvent):
            for number, (name, _event, _method) in enumerate(INTERVAL_TICKS, 1):
                answer = self.get(f"{self.site}/@@{name}")
                self.assertEqual(answer.status_code, 200)
                self.assertRegex(answer.text, r"^done: \d{8}-\d\d:\d\d$")
                self.assertEqual(self.attribute("ticks"), number)

    def test_a_second_call_at_once_answers_ok_and_stores_nothing(self):
        self.get(f"{self.site}/@@tick")
        before = self.layer["zodbDB"].lastTransaction()
        last = self.last_tick()

        answer = self.get(f"{self.site}/@@tick")

        self.assertEqual((answer.status_code, answer.text), (200, "OK"))
        self.assertEqual(self.layer["zodbDB"].lastTransaction(), before)
        self.assertEqual(self.last_tick(), last)

    def test_a_site_under_two_host_names_has_one_timer(self):
        events = []
        virtual = "VirtualHostBase/https/www.example.com:443/plone/VirtualHostRoot"
        with subscribed(events.append):
            first = self.get(f"{self.site}/@@tick")
            second = self.get(f"{self.root}/{virtual}/@@tick")

        self.assertEqual((first.text, second.text), ("OK", "OK"))
        self.assertEqual(len(events), 1)

    def test_the_zope_root_can_be_ticked_by_its_own_timer(self):
        sites = []
        with subscribed(lambda event: sites.append(getSite())):
            for url in (self.root, self.site):
                for _call in range(2):
                    answer = self.get(f"{url}/@@tick")
                    self.assertEqual((answer.status_code, answer.text), (200, "OK"))

        self.assertEqual([site and site.getId() for site in sites], [None, "plone"])
        self.assertIsNotNone(self.last_tick(path=None))

    def test_interval_ticks_work_on_the_zope_root(self):
        events = []
        with subscribed(events.append, to=IIntervalTicksGenericEvent):
            for name, _event, _method in INTERVAL_TICKS:
                answer = self.get(f"{self.root}/@@{name}")
                self.assertEqual(answer.status_code, 200)

        self.assertEqual(len(events), 5)

    def test_nobody_else_can_tick(self):
        events = []
        with (
            subscribed(events.append),
            subscribed(events.append, to=IIntervalTicksGenericEvent),
        ):
            for url in (self.site, self.root):
                for name in VIEW_NAMES:
                    for credentials in (
                        (None, None),
                        (TEST_USER_NAME, TEST_USER_PASSWORD),
                        (SITE_OWNER_NAME, "wrong"),
                    ):
                        answer = self.get(f"{url}/@@{name}", *credentials)
                        self.assertIn(answer.status_code, (302, 401))
                        self.assertNotIn(answer.text[:4], ("OK", "done"))

        self.assertEqual(events, [])
        self.assertIsNone(self.last_tick())

    def test_methods_of_the_views_have_no_address(self):
        for path in (
            "@@tick/tick",
            "@@tick/setLastTick?time=0",
            "@@tick/getTickData",
            "@@tick_hourly/daily",
        ):
            for user in (None, SITE_OWNER_NAME):
                with self.subTest(path, user=user):
                    answer = self.get(f"{self.site}/{path}", user)
                    self.assertNotEqual(answer.status_code, 200)
        self.assertIsNone(self.last_tick())

    def test_a_failing_subscriber_does_not_fail_the_tick(self):
        with (
            subscribed(write_first, write_and_fail, write_last),
            self.assertLogs(ticks.logger, "ERROR"),
        ):
            answer = self.get(f"{self.site}/@@tick")

        self.assertEqual((answer.status_code, answer.text), (200, "OK"))
        self.assertEqual(self.attribute("first"), "written")
        self.assertEqual(self.attribute("last"), "written")
        self.assertIsNone(self.attribute("broken"))
        self.assertIsNotNone(self.last_tick())

    def test_a_tick_that_fails_as_a_whole_is_rolled_back_with_status_500(self):
        def doom(event):
            transaction.doom()

        with subscribed(write_first, doom):
            answer = self.get(f"{self.site}/@@tick")

        self.assertEqual(answer.status_code, 500)
        self.assertIsNone(self.attribute("first"))
        self.assertIsNone(self.last_tick())

    def test_a_tick_whose_commit_fails_is_rolled_back_with_status_500(self):
        def unpicklable(event):
            getSite().first = lambda: None

        with subscribed(unpicklable):
            answer = self.get(f"{self.site}/@@tick")

        self.assertEqual(answer.status_code, 500)
        self.assertIsNone(self.last_tick())

    def test_a_subscriber_that_commits_and_fails_keeps_no_other_from_running(self):
        def commit_and_fail(event):
            write_first(event)
            transaction.commit()
            write_and_fail(event)

        with (
            subscribed(commit_and_fail, write_last),
            self.assertLogs(ticks.logger, "ERROR") as logs,
        ):
            answer = self.get(f"{self.site}/@@tick")

        self.assertEqual(answer.status_code, 200)
        self.assertIn("commit_and_fail failed on TickEvent", logs.output[0])
        self.assertEqual(self.attribute("first"), "written")
        self.assertIsNone(self.attribute("broken"))
        self.assertEqual(self.attribute("last"), "written")
        self.assertIsNotNone(self.last_tick())

    def test_a_subscriber_that_aborts_fails_the_tick(self):
        def abort(event):
            transaction.abort()

        def abort_and_fail(event):
            transaction.abort()
            raise RuntimeError

        for handler in (abort, abort_and_fail):
            with (
                self.subTest(handler.__name__),
                subscribed(write_first, handler, write_last),
            ):
                answer = self.get(f"{self.site}/@@tick")

            self.assertEqual(answer.status_code, 500)
            self.assertIsNone(self.attribute("first"))
            self.assertIsNone(self.attribute("last"))
            self.assertIsNone(self.last_tick())

    def test_a_failure_that_cannot_be_rolled_back_alone_fails_the_tick(self):
        def use_what_has_no_savepoints(event):
            transaction.get().join(WithoutSavepoints())

        with (
            subscribed(write_first, use_what_has_no_savepoints, write_and_fail),
            self.assertLogs(ticks.logger, "ERROR") as logs,
        ):
            answer = self.get(f"{self.site}/@@tick")

        self.assertEqual(answer.status_code, 500)
        self.assertIn("write_and_fail failed", logs.output[0])
        self.assertIsNone(self.attribute("first"))
        self.assertIsNone(self.last_tick())

    def test_subscribers_run_as_the_user_who_ticks(self):
        users = []

        def see(event):
            user = getSecurityManager().getUser()
            users.append((user.getUserName(), user.has_role("Manager")))

        with subscribed(see):
            self.get(f"{self.site}/@@tick")

        self.assertEqual(users, [(SITE_OWNER_NAME, True)])

    def test_a_conflict_repeats_the_tick(self):
        attempts = []

        def conflict_once(event):
            attempts.append(event)
            if len(attempts) == 1:
                raise ConflictError

        with subscribed(write_first, conflict_once):
            answer = self.get(f"{self.site}/@@tick")

        self.assertEqual((answer.status_code, answer.text), (200, "OK"))
        self.assertEqual(len(attempts), 2)
        self.assertEqual(self.attribute("first"), "written")

    def test_of_two_ticks_at_the_same_moment_one_is_stored(self):
        portal = self.layer["portal"]
        portal.moments = OOBTree()
        tick_view(portal).setLastTick(DateTime() - 1 / 24)
        transaction.commit()
        together = threading.Barrier(2, timeout=PATIENCE)
        sent = []

        def note_moment_with_the_other(event):
            sent.append(event)
            together.wait()
            getSite().moments[event.date_time.micros()] = "sent"

        answers = []
        with subscribed(note_moment_with_the_other):
            threads = [
                threading.Thread(
                    target=lambda: answers.append(self.get(f"{self.site}/@@tick"))
                )
                for _number in range(2)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)

        self.assertEqual([answer.text for answer in answers], ["OK", "OK"])
        self.assertEqual(len(sent), 2)
        with self.stored() as app:
            moments = list(app["plone"].moments)
        self.assertEqual(moments, [self.last_tick().micros()])


@implementer(IDataManager)
class WithoutSavepoints:
    """Takes part in a transaction, and can only give up all of it."""

    transaction_manager = transaction.manager

    def abort(self, transaction):
        """See IDataManager: it has nothing to undo."""

    tpc_begin = commit = tpc_vote = tpc_finish = tpc_abort = abort

    def sortKey(self):
        return "without savepoints"


class DocumentationTests(HTTPTestCase):
    """The examples of docs/ticks.rst, run as an integrator would use them."""

    layer = DOCUMENTED_HTTP

    def test_the_subscribers_work(self):
        self.get(f"{self.site}/@@tick")
        self.get(f"{self.site}/@@tick_fifteen")
        self.get(f"{self.site}/@@tick_fifteen")

        self.assertEqual(self.attribute("last_action"), self.last_tick())
        self.assertEqual(self.attribute("quarters"), 2)

    def test_the_hourly_work_is_done_when_an_hour_has_passed(self):
        on_tick = sys.modules["myproduct.tickers"].on_tick
        start = DateTime("2026/11/21 05:00:00 UTC")

        for minutes, expected in ((0, 0), (50, 0), (61, 61)):
            moment = start + minutes / 1440
            on_tick(ticks.TickEvent(moment, moment))
            done = self.layer["portal"].last_action
            self.assertEqual(round((done - start) * 1440), expected)

    def test_another_interval_works(self):
        portal = self.layer["portal"]
        events = []

        with subscribed(events.append):
            for seconds in (10, 60):
                tick_view(portal).setLastTick(DateTime().timeTime() - seconds)
                transaction.commit()
                self.get(f"{self.site}/@@tick")

        (event,) = events
        seconds = event.next_tick.timeTime() - event.date_time.timeTime()
        self.assertEqual(round(seconds), 60)

    def test_all_cron_lines_name_a_view_and_its_call_prints_nothing(self):
        (crontab,) = [text for text in code_blocks("text") if "tick.sh" in text]
        names = re.findall(r"/tick\.sh (\w+)$", crontab, re.MULTILINE)

        self.assertEqual(names, VIEW_NAMES)
        for name in names:
            self.assertEqual(self.call_script(name), "")
        self.assertIsNotNone(self.last_tick())

    def test_the_script_prints_what_is_not_well(self):
        self.assertEqual(
            self.call_script("tick", password="wrong"), f"302 {self.site}/@@tick\n"
        )
        self.assertEqual(self.call_script("no_tick"), f"404 {self.site}/@@no_tick\n")

    def call_script(self, name, password=SITE_OWNER_PASSWORD):
        """Run the documented script against the test server; what it prints."""
        (script,) = code_blocks("sh")
        host, site = "127.0.0.1", "http://127.0.0.1:8080/Plone"
        self.assertIn(site, script)
        with tempfile.TemporaryDirectory() as home:
            (netrc,) = [text for text in code_blocks("text") if "machine" in text]
            for documented, real in (
                (host, self.layer["host"]),
                ("ticker ", f"{SITE_OWNER_NAME} "),
                ("the-password-of-ticker", f'"{password}"'),
            ):
                self.assertIn(documented, netrc)
                netrc = netrc.replace(documented, real)
            Path(home, ".netrc").write_text(netrc, encoding="utf-8")
            answer = subprocess.run(
                ["sh", "-c", script.replace(site, self.site), "tick.sh", name],
                env={**os.environ, "HOME": home},
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
        self.assertEqual(answer.stderr, "")
        return answer.stdout

    def test_the_table_names_all_events_with_their_attributes(self):
        table = DOCUMENTATION.read_text(encoding="utf-8").split("===\nview")[1]
        table = table.split("\n\n")[0]
        rows = re.findall(r"``(I\w+Event)``\s+(.*)", table)

        self.assertEqual(len(rows), 7)
        for name, attributes in rows:
            documented = re.findall(r"``(\w+)``", attributes)
            self.assertEqual(
                set(documented), set(getattr(interfaces, name).names(True))
            )


class TicksAloneTests(unittest.TestCase):
    """ticks.zcml needs nothing else of Plone to be loaded."""

    layer = STARTUP

    def test_the_documented_include_registers_the_views(self):
        zca.pushGlobalRegistry()
        self.addCleanup(zca.popGlobalRegistry)

        xmlconfig.string(code_blocks("xml")[2])

        for name in VIEW_NAMES:
            view = getMultiAdapter((object(), TestRequest()), name=name)
            self.assertIsInstance(view, BrowserView)

    def test_loading_does_not_load_the_engine_or_the_service(self):
        program = (
            "import sys, collective.clockwork.ticks; "
            "print([name for name in sys.modules "
            "if name.startswith('collective.clockwork.')])"
        )
        answer = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        self.assertEqual(
            answer.stdout.strip(),
            str([f"collective.clockwork.{name}" for name in TICK_MODULES]),
        )
