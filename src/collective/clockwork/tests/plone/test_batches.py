"""A batch in which a member failed says so, wherever one looks."""

from __future__ import annotations

from collective.clockwork import jobinfo
from collective.clockwork.engine.interfaces import BadStatusError
from collective.clockwork.interfaces import IJobSuccess
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import SITE_OWNER_PASSWORD
from plone.testing.zope import Browser
from Products.PluggableAuthService.PluggableAuthService import PluggableAuthService
from unittest import mock
from zope.component import adapter
from zope.component import getGlobalSiteManager
from zope.i18n import translate

import transaction


@adapter(IJobSuccess)
def note_failed_members(event):
    work.happened.append([str(job.result.value) for job in event.failed_members])


class TestFailedMembers(ServiceTestCase):
    def queue(self, how):
        make = self.service.makeJob
        return getattr(self.service, how)(
            make(work.fail, self.folder, "first"),
            make(work.add_numbers, self.folder, 1),
            make(work.fail, self.folder, "third"),
        )

    def test_the_batch_names_those_that_failed(self):
        for how in ("queueSerialJobs", "queueParallelJobs"):
            with self.subTest(how):
                batch = self.queue(how)
                self.assertEqual((), batch.failed_members)
                first, _second, third = self.run_job(batch)
                self.assertEqual((first, third), batch.failed_members)

    def test_the_event_of_the_batch_names_them_too(self):
        registry = getGlobalSiteManager()
        registry.registerHandler(note_failed_members)
        self.addCleanup(registry.unregisterHandler, note_failed_members)
        self.run_job(self.queue("queueSerialJobs"))
        self.assertEqual([[], ["first", "third"]], work.happened)

    def test_what_pages_see_of_the_batch_says_how_many(self):
        batch = self.queue("queueSerialJobs")
        self.run_job(batch)
        info = self.service.getJobInfo(batch.id)
        self.assertEqual(("completed", 2), (info.status, info.failed_members))
        text = "2 of the 3 jobs of this batch failed"
        self.assertEqual(text, translate(info.reason))

    def test_the_control_panel_says_it_too(self):
        self.run_job(self.queue("queueParallelJobs"))
        browser = Browser(self.layer["app"])
        credentials = f"{SITE_OWNER_NAME}:{SITE_OWNER_PASSWORD}"
        browser.addHeader("Authorization", f"Basic {credentials}")
        browser.open(f"{self.portal.absolute_url()}/@@background-jobs")
        self.assertIn("2 of the 3 jobs of this batch failed", browser.contents)

    def test_of_a_batch_without_failures_nothing_is_said(self):
        batch = self.service.queueSerialJobs(
            self.service.makeJob(work.add_numbers, self.folder, 1)
        )
        drain()
        info = self.service.getJobInfo(batch.id)
        self.assertEqual((0, None), (info.failed_members, info.reason))

    def test_a_job_that_is_no_batch_has_none(self):
        job = self.service.queueJob(work.fail, self.folder)
        drain()
        self.assertEqual(0, self.service.getJobInfo(job.id).failed_members)

    def test_a_member_that_cannot_be_loaded_hides_neither_the_batch_nor_failures(self):
        make = self.service.makeJob
        batch = self.service.queueSerialJobs(
            make(work.note, self.folder, work.Touchy()), make(work.fail, self.folder)
        )
        self.run_job(batch)
        batch_id = batch.id
        self.layer["zodbDB"].cacheMinimize()
        with mock.patch.object(work.Touchy, "spoilt", True):
            found = {info.id: info for info in self.service.findJobs()}
        info = found[batch_id]
        name = "collective.clockwork.tests.plone.work.fail"
        self.assertEqual(f"<ServiceJob>, {name}", info.arguments)
        self.assertEqual(f"(<ServiceJob>, {name})", info.result)
        self.assertEqual(1, info.failed_members)


class TestMembers(ServiceTestCase):
    def queue(self, count):
        make = self.service.makeJob
        jobs = [make(work.add_numbers, self.folder, n) for n in range(count)]
        batch = self.service.queueSerialJobs(*jobs)
        transaction.commit()
        return batch

    def test_a_member_that_is_not_put_yet_says_so(self):
        member = self.queue(2).args[1]
        info = self.service.getJobInfo(member.id)
        self.assertEqual(("queued", ""), (info.status, info.queue))
        text = "It is in no queue: its batch has not come to it, or it was taken out"
        self.assertEqual(text, translate(info.reason))
        german = translate(info.reason, target_language="de")
        self.assertIn("in keiner Warteschlange", german)

    def test_a_member_that_is_not_put_yet_is_cancelled_with_its_batch_only(self):
        member = self.queue(2).args[1]
        with self.assertRaisesRegex(BadStatusError, "cancelled with the batch"):
            self.service.cancelJob(member.id)

    def test_of_a_large_batch_the_first_members_are_named_and_no_others_loaded(self):
        batch_id = self.queue(50).id
        self.layer["zodbDB"].cacheMinimize()
        info = self.service.getJobInfo(batch_id)
        names = info.arguments.split(", ")
        self.assertEqual(jobinfo.NAMED_MEMBERS + 1, len(names))
        self.assertEqual("…", names[-1])
        members = self.service.getJob(batch_id).args
        loaded = [member._p_changed is not None for member in members]
        self.assertEqual([True] * 20 + [False] * 30, loaded)

    def test_the_result_of_a_large_batch_names_the_first_members(self):
        batch = self.queue(25)
        self.run_job(batch)
        names = self.service.getJobInfo(batch.id).result.split(", ")
        self.assertEqual(jobinfo.NAMED_MEMBERS + 1, len(names))

    def test_the_users_folder_is_asked_no_oftener_for_many_members_than_for_one(self):
        self.assertEqual(self.questions_for(1), self.questions_for(6))

    def questions_for(self, count):
        """How often users are looked up for a batch of so many members."""
        ask = PluggableAuthService.getUserById
        with mock.patch.object(
            PluggableAuthService, "getUserById", autospec=True, side_effect=ask
        ) as asked:
            batch = self.queue(count)
        users = {(job.userfolder_path, job.user_id) for job in (batch, *batch.args)}
        self.assertEqual(1, len(users))
        self.assertNotIn(None, users.pop())
        return asked.call_count
