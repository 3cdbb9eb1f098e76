"""The engine's options, given to the service apart from a function's arguments."""

from __future__ import annotations

from collective.clockwork.engine.backoff import Backoff
from collective.clockwork.engine.errors import DuplicateJobError
from collective.clockwork.engine.errors import OptionError
from collective.clockwork.interfaces import IAsyncServiceUsing
from collective.clockwork.options import Asked
from collective.clockwork.options import NAMES
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from Products.CMFPlone.factory import addPloneSite
from zope.component.hooks import setSite
from zope.interface.verify import verifyObject

import logging
import transaction


class TestUsing(ServiceTestCase):
    def queue(self, *arguments, **asked):
        return self.service.using(**asked).queueJob(
            work.add_numbers, self.folder, *arguments
        )

    def test_it_has_the_methods_that_its_interface_says(self):
        self.assertTrue(verifyObject(IAsyncServiceUsing, self.service.using()))

    def test_every_option_that_is_known_has_a_type(self):
        self.assertEqual(set(NAMES), set(Asked.__annotations__))

    def test_each_option_arrives_at_the_job(self):
        due = datetime(2040, 1, 1, tzinfo=timezone.utc)
        asked = {
            "begin_after": due,
            "begin_by": timedelta(hours=1),
            "title": "Sum",
            "failure_log_level": logging.DEBUG,
            "priority": -7,
            "timeout": timedelta(minutes=3),
            "on_duplicate": "replace",
            "keep_result": timedelta(days=1),
            "keep_failure": timedelta(days=2),
        }
        job = self.queue(1, unique="sum", retry=Backoff(tries=2), **asked)
        self.assertEqual(asked, {name: getattr(job, name) for name in asked})
        self.assertEqual(Backoff(tries=2), job.retry_policy_factory)
        self.assertTrue(job.unique.endswith(" sum"))
        self.assertTrue(self.queue(1, groupable=True).groupable)

    def test_queue_and_quota_may_be_names(self):
        queues = self.service.getQueues()
        queues["heavy"] = type(queues[""])()
        queues["heavy"].quotas.create("images", size=2)
        for quota in ("images", ("images",)):
            job = self.queue(1, queue="heavy", quota=quota)
            self.assertEqual(("heavy", ("images",)), (job.queue.name, job.quota_names))
        self.assertEqual((), self.queue(1, quota=()).quota_names)
        self.assertEqual(("default",), self.queue(1).quota_names)

    def test_an_argument_with_the_name_of_an_option_is_an_argument(self):
        job = self.service.using(title="A page").queueJob(
            work.add_page, self.folder, "page", title="Its title"
        )
        self.run_job(job)
        self.assertEqual("Its title", self.folder["page"].title)

    def test_further_options_are_added_and_go_before(self):
        first = self.service.using(priority=1, title="one")
        job = first.using(priority=2).queueJob(work.note, self.folder, "x")
        self.assertEqual((2, "one"), (job.priority, job.title))
        job = first.queueJob(work.note, self.folder, "x")
        self.assertEqual(1, job.priority)

    def test_a_retry_policy_is_obeyed(self):
        job = self.service.using(
            retry=Backoff(tries=2, first=timedelta(minutes=1))
        ).queueJob(work.fail, self.folder)
        drain()
        info = self.service.getJobInfo(job.id)
        self.assertEqual(("queued", 1), (info.status, info.attempt))

    def test_batches_have_options_too(self):
        make = self.service.makeJob
        calls = [make(work.note, self.folder, number) for number in (1, 2)]
        using = self.service.using(title="Two notes", priority=4, quota=())
        for queue_batch in (using.queueSerialJobs, using.queueParallelJobs):
            batch = queue_batch(*calls)
            self.assertEqual(
                ("Two notes", 4, ()), (batch.title, batch.priority, batch.quota_names)
            )
            self.run_job(batch)
        self.assertEqual([1, 1, 2, 2], sorted(work.happened))

    def test_wrong_options_are_refused_and_nothing_is_stored(self):
        for error, message, asked in (
            (OptionError, "did you mean 'timeout'", {"timout": timedelta(1)}),
            (OptionError, "did you mean 'begin_after'", {"begin_afer": None}),
            (OptionError, "priority is 101", {"priority": 101}),
            (OptionError, "drop.* needs unique", {"on_duplicate": "drop"}),
            (OptionError, "unique is 5", {"unique": 5}),
            (ValueError, "time zone", {"begin_after": datetime(2040, 1, 1)}),
            (TypeError, "begin_by", {"begin_by": 5}),
            (ValueError, "no queue of that name", {"queue": "nowhere"}),
            (ValueError, "no such quota", {"quota": "nothing"}),
            (
                OptionError,
                "debounce and begin_after",
                {
                    "unique": "x",
                    "debounce": timedelta(1),
                    "begin_after": datetime(2040, 1, 1, tzinfo=timezone.utc),
                },
            ),
        ):
            with self.subTest(message):
                with self.assertRaisesRegex(error, message):
                    self.queue(1, **asked)
        self.assertEqual(0, self.stored_jobs())


class TestUniqueJobs(ServiceTestCase):
    def queue(self, word, **asked):
        return self.service.using(unique="news", **asked).queueJob(
            work.note, self.folder, word
        )

    def test_a_second_one_is_refused_dropped_or_takes_its_place(self):
        first = self.queue("first")
        with self.assertRaisesRegex(DuplicateJobError, "work.note, .*is queued") as at:
            self.queue("second")
        self.assertIs(first, at.exception.job)
        self.assertNotIn("first", str(at.exception))
        self.assertIs(first, self.queue("third", on_duplicate="drop"))
        transaction.commit()
        self.queue("fourth", on_duplicate="replace")
        drain()
        self.assertEqual(["fourth"], work.happened)

    def test_sites_know_nothing_of_each_others_keys(self):
        self.queue("here")
        self.login_as_site_owner()
        other = addPloneSite(self.layer["app"], "other", setup_content=False)
        setSite(other)
        using = self.service.using(unique="news")
        job = using.queueJob(work.note, other, "there")
        self.assertEqual("/other", "/".join(job.site_path))
        with self.assertRaises(DuplicateJobError):
            using.queueJob(work.note, other, "there again")
        setSite(self.portal)
        drain()
        self.assertEqual(["here", "there"], sorted(work.happened))
