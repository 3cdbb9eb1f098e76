"""Calls that could not be made later: refused at once, and nothing is stored."""

from __future__ import annotations

from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import add_site
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from functools import partial
from persistent.mapping import PersistentMapping
from plone import api
from plone.dexterity.utils import createContent

import threading
import transaction


class RefusalTestCase(ServiceTestCase):
    def tearDown(self):
        # Whatever was refused, a later commit must not store it.
        self.assertEqual(0, self.stored_jobs())

    def assert_refused(self, error, message, *arguments, **keywords):
        with self.assertRaisesRegex(error, message):
            self.service.queueJob(*arguments, **keywords)


class TestFunctions(RefusalTestCase):
    def test_a_lambda_is_refused(self):
        self.assert_refused(ValueError, "lambda", lambda context: None, self.folder)

    def test_a_local_function_is_refused(self):
        def local(context):
            return None

        self.assert_refused(ValueError, "top of a module", local, self.folder)

    def test_a_lambda_in_a_class_is_refused(self):
        self.assert_refused(ValueError, "lambda", work.Stand.unnamed, self.folder)

    def test_a_partial_is_refused(self):
        self.assert_refused(
            ValueError, "top of a module", partial(work.note, word="x"), self.folder
        )

    def test_something_that_cannot_be_called_is_refused(self):
        self.assert_refused(TypeError, "func is 'note'", "note", self.folder)

    def test_a_method_of_a_content_object_is_refused_with_the_remedy(self):
        self.assert_refused(
            TypeError,
            r"Folder\.reindexObject, and the object as context",
            self.folder.reindexObject,
            self.folder,
        )


class TestContexts(RefusalTestCase):
    def test_an_object_outside_of_the_current_site_is_refused(self):
        root = self.portal.getPhysicalRoot()
        self.assert_refused(
            ValueError, "outside of the current site", work.note, root, "x"
        )

    def test_an_object_of_another_site_is_refused_with_the_remedy(self):
        with api.env.adopt_roles(["Manager"]):
            add_site(self.portal.getPhysicalRoot(), "elsewhere")
        self.assert_refused(
            ValueError, r"setSite\(\) .* with the context's own", work.note, self.folder
        )

    def test_none_is_refused(self):
        self.assert_refused(ValueError, "context is None", work.note, None, "x")

    def test_an_object_without_a_path_is_refused(self):
        self.assert_refused(ValueError, "no place in a site", work.note, object(), "x")

    def test_content_that_was_never_added_is_refused(self):
        page = createContent("Document", id="loose")
        self.assert_refused(ValueError, "no place in a site", work.note, page, "x")

    def test_content_that_was_only_wrapped_is_refused(self):
        page = createContent("Document", id="loose").__of__(self.folder)
        self.assert_refused(
            ValueError, "not in the database.*loose", work.note, page, "x"
        )


class TestArguments(RefusalTestCase):
    def test_an_argument_that_cannot_be_pickled_is_named_by_position(self):
        self.assert_refused(
            TypeError,
            r"positional argument 2 after the context \(lock\) cannot be stored",
            work.add_numbers,
            self.folder,
            1,
            threading.Lock(),
        )

    def test_an_argument_that_cannot_be_pickled_is_named_by_keyword(self):
        self.assert_refused(
            TypeError,
            "argument 'title' .*cannot be stored",
            work.add_page,
            self.folder,
            "news",
            title={"en": threading.Lock()},
        )

    def test_content_inside_a_new_persistent_mapping_is_refused(self):
        mapping = PersistentMapping({"page": self.folder.aq_base})
        self.assert_refused(
            TypeError, "its UID or path", work.note, self.folder, mapping
        )

    def test_a_request_is_refused(self):
        self.assert_refused(
            TypeError,
            "is a request",
            work.note,
            self.folder,
            word=self.layer["request"],
        )

    def test_a_brain_is_refused(self):
        brain = api.content.find(self.portal, portal_type="Folder")[0]
        self.assert_refused(TypeError, "catalog brain", work.note, self.folder, brain)

    def test_a_lambda_as_an_argument_is_refused(self):
        self.assert_refused(
            TypeError, "positional argument 1", work.note, self.folder, lambda: None
        )


class TestTimes(RefusalTestCase):
    def assert_delay_refused(self, error, message, begin_by, begin_after):
        with self.assertRaisesRegex(error, message):
            self.service.queueJobWithDelay(
                begin_by, begin_after, work.note, self.folder, "x"
            )

    def test_a_naive_datetime_is_refused(self):
        self.assert_delay_refused(
            ValueError, "begin_after .*time zone", None, datetime(2030, 1, 1)
        )

    def test_a_number_of_seconds_is_refused(self):
        self.assert_delay_refused(TypeError, "begin_after is 60", None, 60)

    def test_a_negative_deadline_is_refused(self):
        self.assert_delay_refused(
            ValueError, "begin_by .*negative", timedelta(seconds=-1), None
        )

    def test_a_deadline_that_is_no_timedelta_is_refused(self):
        due = datetime(2030, 1, 1, tzinfo=timezone.utc)
        self.assert_delay_refused(TypeError, "begin_by .*timedelta", due, None)


class TestQueuesAndQuotas(RefusalTestCase):
    def assert_place_refused(self, error, message, queue, quota_names):
        with self.assertRaisesRegex(error, message):
            self.service.queueJobInQueue(
                queue, quota_names, work.note, self.folder, "x"
            )

    def test_an_unknown_queue_is_refused_with_the_known_ones(self):
        self.assert_place_refused(
            ValueError, "queue is 'mail'.*one of ''", "mail", None
        )

    def test_something_else_than_a_queue_is_refused(self):
        self.assert_place_refused(ValueError, "queue is None", None, None)

    def test_an_unknown_quota_is_refused_with_the_known_ones(self):
        message = "'mail'.*out of .*'default'"
        self.assert_place_refused(ValueError, message, "", ("mail",))

    def test_a_name_in_place_of_a_sequence_of_names_is_refused(self):
        self.assert_place_refused(TypeError, r"\('default',\)", "", "default")


class TestBatches(RefusalTestCase):
    def test_one_bad_member_keeps_the_whole_batch_out(self):
        make = self.service.makeJob
        with self.assertRaisesRegex(TypeError, "positional argument 1"):
            self.service.queueSerialJobs(
                make(work.note, self.folder, "good"),
                make(work.note, self.folder, threading.Lock()),
            )

    def test_something_else_than_a_description_is_refused(self):
        with self.assertRaisesRegex(TypeError, "makeJob"):
            self.service.queueParallelJobs(work.note)

    def test_an_empty_batch_is_refused(self):
        with self.assertRaisesRegex(ValueError, "at least one job"):
            self.service.queueSerialJobs()


class TestWhatIsAccepted(ServiceTestCase):
    def test_an_object_added_in_this_transaction_can_be_the_context(self):
        page = api.content.create(self.folder, "Document", "brand-new")
        job = self.service.queueJob(work.describe_world, page)
        self.assertEqual("/plone/folder/brand-new", self.run_job(job)["context"])

    def test_plain_values_dates_and_collections_can_be_arguments(self):
        value = {"when": datetime(2030, 1, 1), "list": [1, (2, {3})], "text": b"x"}
        job = self.service.queueJob(work.note, self.folder, value)
        self.assertEqual(value, self.run_job(job))

    def test_a_persistent_mapping_can_be_an_argument(self):
        job = self.service.queueJob(
            work.note, self.folder, PersistentMapping(colour="red")
        )
        self.assertEqual("red", self.run_job(job)["colour"])
        transaction.abort()
