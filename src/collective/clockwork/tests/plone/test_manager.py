"""The job manager: the names and the behaviour of waeup.kofa.async."""

from __future__ import annotations

from AccessControl import getSecurityManager
from collective.clockwork.engine import local
from collective.clockwork.engine.interfaces import IJob
from collective.clockwork.engine.job import Job
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.manager import AsyncJob
from collective.clockwork.manager import compute
from collective.clockwork.manager import get_job_id
from collective.clockwork.manager import IJobContainer
from collective.clockwork.manager import IJobManager
from collective.clockwork.manager import IProgressable
from collective.clockwork.manager import JobContainer
from collective.clockwork.manager import JobManager
from collective.clockwork.manager import JobManagerTraverser
from collective.clockwork.manager import ProgressableJob
from collective.clockwork.manager.jobs import percent_of
from collective.clockwork.testing import drain
from collective.clockwork.testing import running_worker
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import add_site
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from persistent import Persistent
from plone.app.testing import TEST_USER_ID
from zope.component import getUtility
from zope.component.hooks import getSite
from zope.component.hooks import setSite
from zope.container.interfaces import IContainer
from zope.globalrequest import getRequest
from zope.interface.verify import verifyClass
from zope.interface.verify import verifyObject

import operator
import transaction


def annotate(percent):
    """Say how far it is as jobs did in waeup.kofa.async, and wait for the test."""
    local.setLiveAnnotation("percent", percent)
    work.begun.set()
    if not work.released.wait(30):
        raise RuntimeError("nobody released this job")


def where_am_i():
    """Site, user and request, as far as there are any."""
    return getSite(), getSecurityManager().getUser().getUserName(), getRequest()


def who_am_i(context):
    return getSecurityManager().getUser().getId()


class ManagerTestCase(ServiceTestCase):
    def setUp(self):
        super().setUp()
        self.manager = getUtility(IJobManager)

    def without_site(self):
        setSite(None)
        self.addCleanup(setSite, self.portal)

    def put(self, *args, **kwargs):
        """Put a job that adds two numbers; its id and itself."""
        job = AsyncJob(operator.add, 40, 2)
        return self.manager.put(job, *args, **kwargs), job


class TestInterfaces(ManagerTestCase):
    def test_jobs_have_the_interfaces_of_before(self):
        self.assertIs(Job, AsyncJob)
        verifyObject(IJob, AsyncJob(operator.add))
        verifyObject(IJob, ProgressableJob(operator.add))
        verifyObject(IProgressable, ProgressableJob(operator.add))

    def test_a_container_has_them(self):
        verifyClass(IContainer, JobContainer)
        verifyObject(IJobContainer, JobContainer())

    def test_the_manager_is_a_utility(self):
        self.assertIsInstance(self.manager, JobManager)
        verifyObject(IJobManager, self.manager)


class TestId(ManagerTestCase):
    def test_it_is_the_one_that_the_jobs_repr_shows(self):
        job_id, job = self.put()
        self.assertEqual(job_id, get_job_id(job))
        self.assertIn(f"(oid {job_id}, ", repr(job))

    def test_a_job_that_is_not_stored_has_none(self):
        with self.assertRaisesRegex(ValueError, "not stored, so it has no id: queue"):
            get_job_id(AsyncJob(operator.add))


class TestSite(ManagerTestCase):
    def test_without_any_there_is_an_error_that_says_what_to_do(self):
        self.without_site()
        for site in (None, object()):
            with self.assertRaisesRegex(LookupError, "pass an object that is stored"):
                self.manager._get_site(site)

    def test_a_stored_object_wins_over_the_current_site(self):
        app = self.layer["app"]
        self.assertIs(app, self.manager._get_site(app))
        self.assertIs(self.portal, self.manager._get_site(self.portal))
        self.without_site()
        self.assertIs(self.portal, self.manager._get_site(self.portal))

    def test_the_current_site_stands_for_anything_else(self):
        for site in (None, object()):
            self.assertEqual(self.portal, self.manager._get_site(site))

    def test_an_object_that_is_not_stored_is_refused(self):
        with self.assertRaisesRegex(LookupError, "is not stored in a database"):
            self.manager._get_site(Persistent())

    def test_nothing_works_without_a_site(self):
        self.without_site()
        for call in (
            lambda: self.put(),
            lambda: self.manager.get("1"),
            lambda: self.manager.jobs(),
            lambda: self.manager.remove("1"),
            lambda: self.manager.start_test_job(),
        ):
            self.assertRaises(LookupError, call)


class TestManager(ManagerTestCase):
    def test_put_returns_digits_and_keeps_the_job_under_them(self):
        job_id, job = self.put()
        self.assertTrue(job_id.isdecimal())
        container = self.manager._get_jobs_container(self.portal)
        self.assertEqual([job_id], list(container))
        self.assertIs(job, container[job_id])

    def test_put_takes_part_in_the_callers_transaction(self):
        self.portal.title = "changed"
        job_id, _job = self.put()
        self.assertEqual("changed", self.portal.title)
        transaction.abort()
        self.assertNotEqual("changed", self.portal.title)
        self.assertIsNone(self.manager.get(job_id))
        self.assertEqual(0, self.stored_jobs())

    def test_what_the_caller_changed_is_committed_with_the_job(self):
        self.portal.title = "changed"
        first, _job = self.put()
        second, _job = self.put()
        transaction.commit()
        self.assertEqual("changed", self.portal.title)
        self.assertEqual(2, self.stored_jobs())
        self.assertEqual([first, second], [job_id for job_id, _ in self.manager.jobs()])

    def test_a_job_is_run_without_user_site_and_request(self):
        job = AsyncJob(where_am_i)
        self.manager.put(job)
        transaction.commit()
        with running_worker(self.layer["zodbDB"]):
            self.wait_until(lambda: job.status == "completed-status")
        self.assertEqual((None, "Anonymous User", None), job.result)

    def test_a_job_of_the_service_is_run_as_its_user(self):
        make = getUtility(IAsyncService).makeJob
        job = self.service.wrapJob(make(who_am_i, self.folder))
        job_id = self.manager.put(job)
        self.assertEqual(TEST_USER_ID, self.run_job(job))
        self.assertEqual(job_id, self.service.getJobInfo(job_id).id)

    def test_its_time_is_set_before(self):
        job = AsyncJob(operator.add, 40, 2)
        job.begin_after = datetime.now(timezone.utc) + timedelta(days=1)
        self.manager.put(job)
        self.assertEqual(0, drain())
        self.assertEqual("pending-status", job.status)

    def test_get_finds_the_job_and_nothing_else(self):
        job_id, job = self.put()
        self.assertIs(job, self.manager.get(job_id))
        for unknown in ("1", "", "x", "-1", f"0{job_id}", "9" * 30, "¹", None, b"1"):
            self.assertIsNone(self.manager.get(unknown), unknown)

    def test_jobs_lists_pairs(self):
        self.assertEqual([], list(self.manager.jobs()))
        pairs = [self.put(), self.put()]
        self.assertEqual(pairs, list(self.manager.jobs()))

    def test_jobs_may_be_removed_while_they_are_listed(self):
        for _number in range(3):
            self.put()
        for job_id, _job in self.manager.jobs():
            self.manager.remove(job_id)
        self.assertEqual([], list(self.manager.jobs()))

    def test_removing_never_stops_a_job(self):
        job_id, job = self.put()
        self.manager.remove(job_id)
        self.assertIsNone(self.manager.get(job_id))
        self.assertEqual(42, self.run_job(job))

    def test_removing_what_is_not_there_is_no_error(self):
        self.manager.remove("1")
        job_id, job = self.put()
        self.manager.remove("no id")
        self.assertEqual([(job_id, job)], list(self.manager.jobs()))

    def test_the_test_job_is_kept_and_ends(self):
        job_id = self.manager.start_test_job(duration=1)
        job = self.manager.get(job_id)
        self.assertEqual(46, self.run_job(job))
        self.assertEqual(100.0, percent_of(job))

    def test_a_container_takes_jobs_alone(self):
        container = self.manager._get_jobs_container(self.portal)
        with self.assertRaisesRegex(TypeError, "is no job"):
            container["1"] = object()
        with self.assertRaisesRegex(ValueError, "pass what get_job_id"):
            container["one"] = AsyncJob(operator.add)
        with self.assertRaises(KeyError):
            container["1"]
        with self.assertRaises(KeyError):
            del container["1"]

    def test_ids_are_in_their_order_as_numbers(self):
        container = JobContainer()
        for job_id in ("10", "9", "100"):
            container[job_id] = AsyncJob(operator.add)
        self.assertEqual(["9", "10", "100"], container.keys())
        self.assertEqual(3, len(container))


class TestSites(ManagerTestCase):
    def test_sites_of_one_database_do_not_see_each_others_jobs(self):
        job_id, job = self.put()
        other = add_site(self.layer["app"], "other")
        self.addCleanup(setSite, self.portal)
        self.assertEqual([], list(self.manager.jobs()))
        self.assertIsNone(self.manager.get(job_id))
        self.manager.remove(job_id)
        self.assertIs(job, self.manager.get(job_id, self.portal))
        its_id, _job = self.put()
        self.assertIsNone(self.manager.get(its_id, self.portal))
        self.assertIsNone(self.manager.get(its_id, self.folder))
        self.assertIsNotNone(self.manager.get(its_id, other))

    def test_outside_of_sites_there_are_other_jobs(self):
        app = self.layer["app"]
        job_id, job = self.put(site=app)
        self.assertIsNone(self.manager.get(job_id))
        self.assertIs(job, self.manager.get(job_id, app))

    def test_a_renamed_site_keeps_its_jobs(self):
        job_id, _job = self.put()
        transaction.commit()
        self.login_as_site_owner()
        app = self.layer["app"]
        app.manage_renameObject("plone", "renamed")
        self.addCleanup(setSite, self.portal)
        setSite(app.renamed)
        self.assertIsNotNone(self.manager.get(job_id))

    def test_a_copy_of_a_site_has_none_of_its_jobs(self):
        container = JobContainer(("", "gone"), "uid of another")
        self.assertFalse(container.is_of(self.portal))
        job_id, _job = self.put()
        own = self.manager._get_jobs_container(self.portal)
        self.assertTrue(own.is_of(self.portal))
        other = add_site(self.layer["app"], "other")
        self.addCleanup(setSite, self.portal)
        # What an imported copy has.
        setattr(other, "_plone.uuid", own.site_uid)
        self.assertFalse(own.is_of(other))
        self.assertIsNone(self.manager.get(job_id))

    def test_a_job_of_another_site_is_refused(self):
        job = self.service.wrapJob(self.service.makeJob(work.note, self.folder, "x"))
        add_site(self.layer["app"], "other")
        self.addCleanup(setSite, self.portal)
        with self.assertRaisesRegex(ValueError, "belongs to the site '/plone'"):
            self.manager.put(job)
        self.assertEqual(0, self.stored_jobs())

    def test_a_database_without_queues_says_how_to_get_them(self):
        self.service.getQueues()
        del self.portal._p_jar.root()["collective.clockwork.engine"]
        with self.assertRaisesRegex(LookupError, "no queues: install the add-on"):
            self.put()
        transaction.abort()


class TestProgress(ManagerTestCase):
    def test_a_job_that_says_nothing_has_none(self):
        job = ProgressableJob(operator.add, 40, 2)
        self.assertIsNone(job.percent)
        self.manager.put(job)
        self.assertIsNone(job.percent)
        self.run_job(job)
        self.assertIsNone(job.percent)

    def test_a_live_annotation_is_seen_while_the_job_runs_and_afterwards(self):
        job = ProgressableJob(annotate, 41.5)
        self.manager.put(job)
        transaction.commit()
        with running_worker(self.layer["zodbDB"]):
            self.assertTrue(work.begun.wait(30))
            try:
                self.wait_until(lambda: job.percent == 41.5)
                self.wait_until(lambda: job.status == "active-status")
            finally:
                work.released.set()
            self.wait_until(lambda: job.status == "completed-status")
            # The sweep makes it an ordinary annotation.
            self.wait_until(lambda: job.percent == 41.5)

    def test_what_is_no_number_counts_as_nothing(self):
        job = ProgressableJob(operator.add)
        for value in ("much", True, None, float("nan"), [1]):
            job.annotations["percent"] = value
            self.assertIsNone(job.percent, value)
        for value, expected in ((-1, 0.0), (7, 7.0), (1e9, 100.0)):
            job.annotations["percent"] = value
            self.assertEqual(expected, job.percent)

    def test_compute_can_be_called_anywhere(self):
        self.assertEqual(6, compute(3, 0))

    def test_a_test_job_can_be_cancelled(self):
        job = self.manager.get(self.manager.start_test_job(3600))
        transaction.commit()
        with running_worker(self.layer["zodbDB"]):
            self.wait_until(lambda: job.status == "active-status")
            job.cancel()
            transaction.commit()
            self.wait_until(lambda: job.status == "completed-status")
        self.assertIn("CancelledError", repr(job.result))


class TestTraverser(ManagerTestCase):
    def test_it_finds_the_job_of_an_id(self):
        job_id, job = self.put()
        traverser = JobManagerTraverser(self.manager, self.layer["request"])
        self.assertIs(job, traverser.traverse(job_id))
        self.assertIsNone(traverser.traverse("1"))
        self.assertIsNone(traverser.traverse("index_html"))

    def test_it_knows_nothing_of_other_sites(self):
        job_id, _job = self.put()
        add_site(self.layer["app"], "other")
        self.addCleanup(setSite, self.portal)
        traverser = JobManagerTraverser(self.manager, self.layer["request"])
        self.assertIsNone(traverser.traverse(job_id))
