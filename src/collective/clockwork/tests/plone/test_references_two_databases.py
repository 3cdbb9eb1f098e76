"""Content objects in jobs whose queues are in a database of their own."""

from __future__ import annotations

from collective.clockwork import Job
from collective.clockwork import queue
from collective.clockwork.tests import base
from collective.clockwork.tests.plone import content
from collective.clockwork.utils import wait_for_all_jobs
from plone import api

import transaction


class TestTwoDatabases(base.AsyncTestCase):
    def setUp(self):
        super().setUp()
        self.page = api.content.create(self.folder, "Document", "page", "A page")
        transaction.commit()

    def assert_refers_to_no_other_database(self, job):
        self.assertIsNot(self.folder._p_jar.db(), job._p_jar.db())
        others = [each for each in content.references_from(job) if type(each) is list]
        self.assertEqual([], others)

    def test_a_method_of_a_content_object_is_called(self):
        job = queue(Job(self.folder.invokeFactory, "Document", "news"))
        wait_for_all_jobs(seconds=20)
        self.assertEqual("news", job.result)
        self.assertIn("news", self.folder)
        self.assert_refers_to_no_other_database(job)

    def test_objects_arrive_as_arguments(self):
        job = self.async_.queueJob(
            content.paths_in, self.folder, self.page, [self.page]
        )
        wait_for_all_jobs(seconds=20)
        path = content.path_of(self.page)
        self.assertEqual([path, path], job.result)
        self.assert_refers_to_no_other_database(job)

    def test_objects_are_given_back_as_results(self):
        job = self.async_.queueJob(content.give_nested, self.folder, "page")
        wait_for_all_jobs(seconds=20)
        self.assertEqual("A page", job.result["pages"][0].title)
        self.assert_refers_to_no_other_database(job)

    def test_the_method_can_be_read(self):
        job = queue(Job(self.folder.getId))
        wait_for_all_jobs(seconds=20)
        self.assertEqual(self.folder.getId(), job.callable())
