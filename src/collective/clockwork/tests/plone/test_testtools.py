"""What tests of add-ons do with jobs: run them at once, one alone, or look for them."""

from __future__ import annotations

from AccessControl import getSecurityManager
from collective.clockwork.engine import clock
from collective.clockwork.testing import assert_not_queued
from collective.clockwork.testing import assert_queued
from collective.clockwork.testing import COLLECTIVE_CLOCKWORK_INTEGRATION_TESTING
from collective.clockwork.testing import drain
from collective.clockwork.testing import eager
from collective.clockwork.testing import perform
from collective.clockwork.testing import travel
from collective.clockwork.tests.plone import backgroundwork
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from plone.app.testing import TEST_USER_ID
from plone.testing.zope import Browser
from Products.Five.browser import BrowserView
from unittest.mock import ANY
from zope.component import getGlobalSiteManager
from zope.component.hooks import getSite
from zope.globalrequest import getRequest
from zope.interface import Interface
from zope.publisher.interfaces.browser import IDefaultBrowserLayer

import threading
import transaction
import unittest


class QueueByRequest(BrowserView):
    """What is published needs a docstring."""

    def __call__(self):
        backgroundwork.plain.queue(self.context, "by a request")
        return "queued"


class TestEager(ServiceTestCase):
    def test_jobs_are_run_at_the_commit_that_queues_them(self):
        with eager():
            job = backgroundwork.plain.queue(self.folder, "at the commit")
            self.assertEqual([], work.happened)
            transaction.commit()
            self.assertEqual(["at the commit"], work.happened)
            self.assertEqual("at the commit", job.result)

    def test_the_test_sees_at_once_what_they_wrote(self):
        with eager():
            backgroundwork.add_page.queue(self.folder, "news")
            transaction.commit()
            self.assertIn("news", self.folder.objectIds())
            self.assertEqual(["news"], work.find_pages(self.folder))

    def test_without_a_commit_nothing_is_run(self):
        with eager():
            backgroundwork.plain.queue(self.folder)
            transaction.abort()
            transaction.commit()
        self.assertEqual([], work.happened)

    def test_they_are_run_as_their_user_and_the_test_stays_who_it_is(self):
        site, request = getSite(), getRequest()
        job = backgroundwork.who.queue(self.folder)
        self.login_as_site_owner()
        with eager():
            transaction.commit()
        self.assertEqual(TEST_USER_ID, job.result)
        self.assertEqual("admin", getSecurityManager().getUser().getId())
        self.assertIs(site, getSite())
        self.assertIs(request, getRequest())

    def test_arguments_arrive_as_copies(self):
        words = ["one"]
        with eager():
            backgroundwork.plain.queue(self.folder, words)
            transaction.commit()
        self.assertEqual([["one"]], work.happened)
        self.assertIsNot(words, work.happened[0])

    def test_what_jobs_queue_is_run_too(self):
        with eager():
            backgroundwork.twice.queue(self.folder, "inner")
            transaction.commit()
        self.assertEqual(["inner", "inner"], work.happened)

    def test_what_failed_is_a_failed_job(self):
        with eager():
            job = self.service.queueJob(work.write_and_fail, self.folder)
            transaction.commit()
        self.assertEqual("after writing", job.result.getErrorMessage())
        self.assertNotEqual("half done", self.folder.title)

    def test_what_is_due_later_is_not_run(self):
        with eager():
            backgroundwork.plain.schedule(timedelta(hours=1), self.folder, "later")
            transaction.commit()
            self.assertEqual([], work.happened)
            with travel(timedelta(hours=2)):
                transaction.commit()
        self.assertEqual(["later"], work.happened)

    def test_the_commit_of_a_request_counts_too(self):
        registry = getGlobalSiteManager()
        where = (Interface, IDefaultBrowserLayer), Interface, "queue-by-request"
        registry.registerAdapter(QueueByRequest, *where)
        self.addCleanup(registry.unregisterAdapter, QueueByRequest, *where)
        browser = Browser(self.layer["app"])
        with eager():
            browser.open(f"{self.portal.absolute_url()}/@@queue-by-request")
            self.assertEqual("queued", browser.contents)
            self.assertEqual(["by a request"], work.happened)

    def test_behind_the_block_jobs_wait_again(self):
        with eager():
            transaction.commit()
        backgroundwork.plain.queue(self.folder)
        transaction.commit()
        self.assertEqual([], work.happened)

    def test_it_ends_also_when_the_test_fails_in_it(self):
        with self.assertRaises(ZeroDivisionError):
            with eager():
                raise ZeroDivisionError
        backgroundwork.plain.queue(self.folder)
        transaction.commit()
        self.assertEqual([], work.happened)

    def test_no_thread_is_left_behind(self):
        before = set(threading.enumerate())
        with eager():
            backgroundwork.plain.queue(self.folder)
            transaction.commit()
        self.assertEqual(before, set(threading.enumerate()))


class TestPerform(ServiceTestCase):
    def test_parameters_may_be_called_as_its_own_are(self):
        given = {"func": "f", "context": "c", "self": "s"}
        result = perform(backgroundwork.tell, self.folder, **given)
        self.assertEqual(("f", "c", "s"), result)

    def test_the_result_of_a_call_is_returned(self):
        self.assertEqual(42, perform(work.add_numbers, self.folder, 40, 2))
        self.assertEqual("x", perform(backgroundwork.plain, self.folder, word="x"))

    def test_it_is_run_as_the_current_user_in_its_site(self):
        world = perform(work.describe_world, self.folder)
        self.assertEqual((TEST_USER_ID, "/plone"), (world["user"], world["site"]))
        self.assertTrue(world["request"])

    def test_the_test_sees_what_it_wrote(self):
        perform(work.add_page, self.folder, "news")
        self.assertIn("news", self.folder.objectIds())

    def test_content_that_it_returns_is_content(self):
        page = perform(backgroundwork.add_page, self.folder, "news")
        self.assertEqual("/plone/folder/news", "/".join(page.getPhysicalPath()))

    def test_its_error_is_raised_and_nothing_is_left_of_what_it_wrote(self):
        with self.assertRaisesRegex(RuntimeError, "after writing"):
            perform(work.write_and_fail, self.folder)
        self.assertNotEqual("half done", self.folder.title)

    def test_a_call_that_cannot_be_stored_is_refused(self):
        with self.assertRaisesRegex(TypeError, "cannot be stored"):
            perform(work.note, self.folder, threading.Lock())

    def test_other_jobs_wait_on(self):
        backgroundwork.plain.queue(self.folder, "waits")
        perform(backgroundwork.twice, self.folder, "inner")
        self.assertEqual([], work.happened)
        assert_queued(backgroundwork.plain, args=["waits"])
        assert_queued(backgroundwork.plain, args=["inner"])

    def test_a_unique_key_and_quotas_are_left_out(self):
        backgroundwork.thumbnail.queue(self.folder)
        self.assertEqual(200, perform(backgroundwork.thumbnail, self.folder))
        self.assertEqual("folder", perform(backgroundwork.shrink, self.folder))

    def test_what_wants_to_be_run_again_later_has_no_result(self):
        with self.assertRaisesRegex(AssertionError, "later has not ended"):
            perform(backgroundwork.later, self.folder)
        assert_not_queued(backgroundwork.later)


class TestAssertions(ServiceTestCase):
    def test_a_call_that_waits_is_found_before_and_after_the_commit(self):
        job = backgroundwork.plain.queue(self.folder, "one")
        self.assertIs(job, assert_queued(backgroundwork.plain))
        transaction.commit()
        self.assertIs(job, assert_queued(backgroundwork.plain))
        drain()
        assert_not_queued(backgroundwork.plain)

    def test_function_context_and_arguments_are_compared(self):
        self.service.queueJob(work.add_page, self.folder, "news", title="News")
        name = "collective.clockwork.tests.plone.work.add_page"
        for wish in (
            {"func": name},
            {"context": self.folder},
            {"context": "/plone/folder"},
            {"args": ["news"]},
            {"args": (ANY,), "kwargs": {"title": "News"}},
            {"kwargs": {"title": ANY}},
        ):
            with self.subTest(wish):
                assert_queued(**{"func": work.add_page, **wish})
        for wish in (
            {"func": work.add_numbers},
            {"context": self.portal},
            {"args": []},
            {"args": ["news", "more"]},
            {"kwargs": {}},
            {"kwargs": {"title": "Old"}},
        ):
            with self.subTest(wish):
                assert_not_queued(**{"func": work.add_page, **wish})
                with self.assertRaises(AssertionError):
                    assert_queued(**{"func": work.add_page, **wish})

    def test_content_among_the_arguments_is_compared(self):
        self.service.queueJob(work.note, self.folder, [self.portal])
        assert_queued(work.note, args=[[self.portal]])
        assert_not_queued(work.note, args=[[self.folder]])

    def test_what_is_due_later_counts(self):
        backgroundwork.plain.schedule(timedelta(days=1), self.folder)
        assert_queued(backgroundwork.plain, context=self.folder)

    def test_members_of_a_batch_count(self):
        make = self.service.makeJob
        self.service.queueSerialJobs(make(work.note, self.folder, "x"))
        assert_queued(work.note, args=["x"])

    def test_the_message_tells_what_is_queued(self):
        self.service.queueJob(work.add_page, self.folder, "news", title="News")
        with self.assertRaisesRegex(
            AssertionError,
            r"work\.note with args=\['x'\] is not queued; what is: .*work\.add_page "
            r"on /plone/folder \('news', title='News'\)",
        ):
            assert_queued(work.note, args=["x"])
        with self.assertRaisesRegex(AssertionError, r"add_page is queued: .*'news'"):
            assert_not_queued(work.add_page)

    def test_without_any_job_the_message_says_so(self):
        with self.assertRaisesRegex(AssertionError, "what is: nothing"):
            assert_queued(work.note)


class TestAssertionsWithoutCommit(unittest.TestCase):
    layer = COLLECTIVE_CLOCKWORK_INTEGRATION_TESTING

    def test_on_an_integration_layer_they_work_too(self):
        backgroundwork.plain.queue(self.layer["portal"], "never")
        assert_queued(backgroundwork.plain, context=self.layer["portal"])
        assert_not_queued(work.note)


class TestTravel(ServiceTestCase):
    def test_what_is_due_by_then_is_run(self):
        backgroundwork.plain.schedule(timedelta(hours=3), self.folder, "due")
        with travel(timedelta(hours=2)):
            drain()
            self.assertEqual([], work.happened)
        with travel(timedelta(hours=4)):
            drain()
        self.assertEqual(["due"], work.happened)

    def test_one_can_travel_to_a_moment_and_on_from_there(self):
        noon = datetime(2040, 1, 1, 12, tzinfo=timezone.utc)
        with travel(noon) as there:
            self.assertEqual((noon, noon), (there, clock.now()))
            with travel(timedelta(hours=1)):
                self.assertEqual(noon + timedelta(hours=1), clock.now())
            self.assertEqual(noon, clock.now())
        self.assertLess(clock.now(), noon)

    def test_a_moment_without_time_zone_is_refused(self):
        with self.assertRaisesRegex(ValueError, "no time zone"):
            with travel(datetime(2040, 1, 1)):
                self.fail("it began")

    def test_one_comes_back_also_when_the_test_fails(self):
        with self.assertRaises(ZeroDivisionError):
            with travel(timedelta(days=400)):
                raise ZeroDivisionError
        self.assertLess(clock.now(), datetime.now(timezone.utc) + timedelta(days=1))
