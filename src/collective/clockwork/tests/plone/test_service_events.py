"""Events about finished jobs: for those who subscribe, in the job's own world."""

from __future__ import annotations

from AccessControl import getSecurityManager
from collective.clockwork.interfaces import IJobFailure
from collective.clockwork.interfaces import IJobSuccess
from collective.clockwork.testing import drain
from collective.clockwork.tests.engine.faults import Participant
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from plone.app.testing import TEST_USER_ID
from zope.component import adapter
from zope.component import getGlobalSiteManager
from zope.component.hooks import getSite

import transaction


@adapter(IJobSuccess)
def on_success(event):
    work.happened.append(("success", event.object, event.job.callable_name))


@adapter(IJobFailure)
def on_failure(event):
    work.happened.append(("failure", type(event.object.value), str(event.object.value)))


@adapter(IJobSuccess)
def tell_world(event):
    site = getSite()
    user = getSecurityManager().getUser().getId()
    path = None if site is None else "/".join(site.getPhysicalPath())
    work.happened.append((path, user))


@adapter(IJobSuccess)
def broken(event):
    raise RuntimeError("a handler with a fault")


@adapter(IJobSuccess)
def mail_in_vain(event):
    error = ConnectionRefusedError("no mail server")
    transaction.get().join(Participant("vote", False, error))


@adapter(IJobSuccess)
def write(event):
    getSite()["folder"].title = "written by a handler"


class TestEvents(ServiceTestCase):
    def subscribe(self, *handlers, registry=None):
        registry = getGlobalSiteManager() if registry is None else registry
        for handler in handlers:
            registry.registerHandler(handler)
            self.addCleanup(registry.unregisterHandler, handler)

    def test_a_success_is_told_with_result_and_job(self):
        self.subscribe(on_success, on_failure)
        self.result_of(work.add_numbers, 40, 2)
        name = "collective.clockwork.tests.plone.work.add_numbers"
        self.assertEqual([("success", 42, name)], work.happened)

    def test_a_failure_is_told_with_its_type_and_text(self):
        self.subscribe(on_success, on_failure)
        self.result_of(work.fail, "FooBared")
        self.assertEqual([("failure", RuntimeError, "FooBared")], work.happened)

    def test_every_job_is_told(self):
        self.subscribe(on_success, on_failure)
        self.service.queueJob(work.add_numbers, self.folder, 1)
        self.service.queueJob(work.fail, self.folder)
        drain()
        self.assertEqual(["success", "failure"], [told[0] for told in work.happened])

    def test_handlers_find_the_jobs_site_and_user(self):
        self.subscribe(tell_world)
        self.result_of(work.add_numbers, 1)
        self.assertEqual([("/plone", TEST_USER_ID)], work.happened)

    def test_handlers_registered_in_the_site_are_found(self):
        self.subscribe(on_success, registry=self.portal.getSiteManager())
        self.result_of(work.add_numbers, 1)
        self.assertEqual(1, len(work.happened))

    def test_what_a_handler_writes_is_committed(self):
        self.subscribe(write)
        self.result_of(work.add_numbers, 1)
        self.assertEqual("written by a handler", self.folder.title)

    def test_a_handler_that_fails_leaves_the_jobs_result_alone(self):
        self.subscribe(broken)
        self.assertEqual(42, self.result_of(work.add_numbers, 40, 2))

    def test_a_handler_that_cannot_commit_is_given_up(self):
        self.subscribe(mail_in_vain)
        job = self.service.queueJob(work.add_numbers, self.folder, 40, 2)
        self.run_job(job)
        self.assertEqual("completed-status", job.status)
        (told,) = job.callbacks
        self.assertEqual(ConnectionRefusedError.__name__, told.result.typeName)

    def test_that_a_user_is_gone_is_told_all_the_same(self):
        self.subscribe(on_failure)
        job = self.service.queueJob(work.note, self.folder, "never")
        transaction.commit()
        self.portal.acl_users.userFolderDelUsers([TEST_USER_ID])
        self.run_job(job)
        ((kind, _type, text),) = work.happened
        self.assertEqual("failure", kind)
        self.assertEqual(f"User {TEST_USER_ID} not found", text)

    def test_a_batch_is_told_and_so_are_its_members(self):
        self.subscribe(on_success)
        make = self.service.makeJob
        batch = self.service.queueSerialJobs(
            make(work.add_numbers, self.folder, 1),
            make(work.add_numbers, self.folder, 2),
        )
        self.run_job(batch)
        self.assertEqual(3, len(work.happened))
        self.assertEqual([1, 2], [told[1] for told in work.happened[:2]])

    def test_without_subscribers_nothing_is_stored_for_them(self):
        job = self.service.queueJob(work.add_numbers, self.folder, 1)
        self.run_job(job)
        self.assertEqual((), job.callbacks)

    def test_handlers_of_the_other_event_do_not_count(self):
        self.subscribe(on_failure)
        job = self.service.queueJob(work.add_numbers, self.folder, 1)
        self.run_job(job)
        self.assertEqual((), job.callbacks)
