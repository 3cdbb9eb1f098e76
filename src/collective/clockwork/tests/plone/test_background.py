"""The decorator: functions that say themselves how they are done in the background."""

from __future__ import annotations

from collective.clockwork import background
from collective.clockwork.engine import clock
from collective.clockwork.engine.backoff import Backoff
from collective.clockwork.engine.callables import dotted_name
from collective.clockwork.engine.errors import DuplicateJobError
from collective.clockwork.engine.errors import OptionError
from collective.clockwork.testing import drain
from collective.clockwork.testing import travel
from collective.clockwork.tests.plone import backgroundwork
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from plone.app.testing import TEST_USER_ID

import asyncio
import inspect
import pickle
import transaction
import unittest


class TestDecorating(unittest.TestCase):
    def test_the_function_stays_what_it_was(self):
        self.assertEqual("x", backgroundwork.plain(None, "x"))
        self.assertEqual("Note a word.", backgroundwork.plain.__doc__)
        self.assertEqual(
            ["context", "word"],
            list(inspect.signature(backgroundwork.plain).parameters),
        )
        self.assertTrue(asyncio.iscoroutinefunction(backgroundwork.fetch))
        work.happened.clear()

    def test_it_is_pickled_and_found_by_its_name(self):
        func = backgroundwork.plain
        self.assertIs(func, pickle.loads(pickle.dumps(func)))
        self.assertEqual(
            "collective.clockwork.tests.plone.backgroundwork:plain", dotted_name(func)
        )

    def assert_refused(self, error, message, func, **options):
        with self.assertRaisesRegex(error, message):
            background(**options)(func)

    def test_a_nested_function_is_refused(self):
        def nested(context):
            return None

        self.assert_refused(ValueError, "nested is inside of another function", nested)

    def test_a_lambda_is_refused(self):
        self.assert_refused(ValueError, "is a lambda", lambda context: None)

    def test_methods_are_refused(self):
        self.assert_refused(ValueError, "Stand.method is a method", work.Stand.method)
        self.assert_refused(TypeError, "is a method", staticmethod(work.note))
        self.assert_refused(TypeError, "is no function", work.Stand().method)

    def test_what_is_no_function_is_refused(self):
        self.assert_refused(TypeError, "is no function", work.Stand)

    def test_a_function_without_context_is_refused(self):
        self.assert_refused(TypeError, "takes no context", without_context)

    def test_a_function_is_decorated_only_once(self):
        self.assert_refused(TypeError, "decorated already", backgroundwork.plain)

    def test_parentheses_that_were_forgotten_are_told_of(self):
        with self.assertRaisesRegex(TypeError, "with parentheses"):
            background(without_context)

    def test_an_unknown_option_is_refused_with_the_nearest_name(self):
        self.assert_refused(
            OptionError, "'priorty' .*did you mean 'priority'", work.note, priorty=5
        )
        self.assert_refused(
            OptionError, "'qota' .*did you mean 'quota'", work.note, qota="x"
        )

    def test_values_that_make_no_sense_are_refused(self):
        for message, options in (
            ("priority is 'high'", {"priority": "high"}),
            ("queue is 7", {"queue": 7}),
            ("quota is 3", {"quota": 3}),
            ("quota is", {"quota": ("a", 1)}),
            ("retry is 5", {"retry": 5}),
            ("retry .*cannot be stored", {"retry": lambda job: None}),
            ("title is", {"title": ""}),
            ("title is", {"title": "x" * 201}),
            ("unique has 301", {"unique": "x" * 301}),
            ("failure_log_level is 'DEBUG'", {"failure_log_level": "DEBUG"}),
        ):
            with self.subTest(message):
                self.assert_refused(OptionError, message, work.note, **options)

    def test_options_that_contradict_each_other_are_refused(self):
        self.assert_refused(
            OptionError,
            "groupable and timeout contradict",
            work.note,
            groupable=True,
            timeout=timedelta(minutes=1),
        )
        self.assert_refused(
            OptionError, "debounce needs unique", work.note, debounce=timedelta(1)
        )

    def test_a_moment_is_no_option_of_all_calls(self):
        self.assert_refused(
            OptionError, "schedule", work.note, begin_after=datetime.now(timezone.utc)
        )

    def test_a_key_may_name_parameters_and_what_belongs_to_the_context(self):
        for message, unique in (
            ("names 'wrd': .*did you mean 'word'", "{wrd}"),
            ("names 'word.title'", "{word.title}"),
            ("names '0'", "{0}"),
            ("names ''", "{}"),
            ("expected '}'", "{word"),
            ("braces inside of braces", "{word:{word}}"),
        ):
            with self.subTest(unique):
                self.assert_refused(OptionError, message, work.note, unique=unique)

    def test_a_parameter_with_a_name_of_our_own_is_refused_in_a_key(self):
        self.assert_refused(
            OptionError,
            "call the parameter otherwise",
            with_uid,
            unique="{context_uid}",
        )


def without_context(*, word):
    return word


def with_uid(context, context_uid):
    return context_uid


class TestQueueing(ServiceTestCase):
    def test_a_call_is_queued_and_run_with_its_arguments(self):
        job = backgroundwork.plain.queue(self.folder, word="later")
        self.assertEqual([], work.happened)
        self.assertEqual("later", self.run_job(job))
        self.assertEqual(["later"], work.happened)

    def test_the_function_may_ask_for_the_context_of_its_run(self):
        job = backgroundwork.rename.queue(self.folder, "new")
        self.assertEqual("new", self.run_job(job))
        self.assertEqual(1.0, self.service.getJobInfo(job.id).progress)

    def test_a_coroutine_function_is_awaited(self):
        self.assertEqual(
            "x", self.run_job(backgroundwork.fetch.queue(self.folder, "x"))
        )

    def test_without_options_it_has_the_default_quota_of_the_default_queue(self):
        job = backgroundwork.plain.queue(self.folder)
        self.assertEqual(("default",), job.quota_names)
        self.assertEqual("", job.queue.name)

    def test_the_options_of_the_function_hold(self):
        self.service.getQueues()[""].quotas.create("thumbnails", size=4)
        job = backgroundwork.shrink.queue(self.folder)
        self.assertEqual(("thumbnails",), job.quota_names)
        self.assertTrue(job.groupable)
        self.assertEqual(Backoff(tries=3), job.retry_policy_factory)
        job = backgroundwork.rename.queue(self.folder, "new")
        self.assertEqual(7, job.priority)
        self.assertEqual(timedelta(minutes=2), job.timeout)

    def test_they_hold_too_when_the_service_queues_it(self):
        job = self.service.queueJob(backgroundwork.rename, self.folder, "new")
        self.assertEqual(7, job.priority)

    def test_they_hold_for_a_job_that_is_wrapped_except_for_the_queue(self):
        describe, wrap = self.service.makeJob, self.service.wrapJob
        self.service.getQueues()[""].quotas.create("reports", size=1)
        job = wrap(describe(backgroundwork.report, self.folder, "x"))
        self.assertEqual(
            (("reports",), 7, "Report x"), (job.quota_names, job.priority, job.title)
        )
        plain = wrap(describe(backgroundwork.plain, self.folder, "x"))
        self.assertEqual((), plain.quota_names)
        self.service.getQueues()[""].put(job)
        self.assertEqual("x", self.run_job(job))

    def test_parameters_may_be_called_as_those_of_the_service_are(self):
        given = {"func": "f", "context": "c", "self": "s"}
        using = self.service.using(priority=1)
        jobs = [
            backgroundwork.tell.queue(self.folder, **given),
            backgroundwork.tell.using(priority=1).queue(self.folder, **given),
            backgroundwork.tell.schedule(timedelta(), self.folder, **given),
            using.queueJob(backgroundwork.tell, self.folder, **given),
        ]
        for job in jobs:
            self.assertEqual(("f", "c", "s"), self.run_job(job))

    def test_they_hold_for_a_member_of_a_batch(self):
        make = self.service.makeJob
        batch = self.service.queueSerialJobs(
            make(backgroundwork.rename, self.folder, "a"),
            make(work.note, self.folder, "b"),
        )
        first, second = batch.args
        self.assertEqual((7, "Rename to a"), (first.priority, first.title))
        self.assertEqual((0, None), (second.priority, second.title))
        self.run_job(batch)
        self.assertEqual(["a", "b"], [member.result for member in batch.result])

    def test_a_function_that_is_unique_is_no_member_of_a_batch(self):
        info = self.service.makeJob(backgroundwork.thumbnail, self.folder)
        with self.assertRaisesRegex(ValueError, "thumbnail asks for unique"):
            self.service.queueParallelJobs(info)
        self.assertEqual(0, self.stored_jobs())

    def test_what_the_call_says_goes_before(self):
        using = backgroundwork.rename.using(priority=-3, timeout=None, quota=())
        job = using.queue(self.folder, "new")
        self.assertEqual((-3, None, ()), (job.priority, job.timeout, job.quota_names))
        job = self.service.using(priority=9).queueJob(
            backgroundwork.rename, self.folder, "new"
        )
        self.assertEqual(9, job.priority)
        self.assertEqual(timedelta(minutes=2), job.timeout)

    def test_what_is_said_twice_is_what_was_said_last(self):
        calls = backgroundwork.plain.using(priority=1, title="one").using(priority=2)
        job = calls.queue(self.folder)
        self.assertEqual((2, "one"), (job.priority, job.title))
        self.assertEqual(0, backgroundwork.plain.queue(self.folder).priority)

    def test_what_the_call_says_must_not_contradict_the_function(self):
        with self.assertRaisesRegex(OptionError, "groupable and timeout"):
            backgroundwork.shrink.using(timeout=timedelta(seconds=5))
        with self.assertRaisesRegex(OptionError, "groupable and timeout"):
            self.service.using(timeout=timedelta(seconds=5)).queueJob(
                backgroundwork.shrink, self.folder
            )
        with self.assertRaisesRegex(OptionError, "debounce and begin_after"):
            backgroundwork.refresh.schedule(timedelta(hours=1), self.folder)
        self.assertEqual(0, self.stored_jobs())

    def test_an_unknown_option_is_refused_with_the_nearest_name(self):
        with self.assertRaisesRegex(OptionError, "did you mean 'timeout'"):
            backgroundwork.plain.using(time_out=timedelta(seconds=5))

    def test_a_call_that_does_not_fit_the_function_is_refused(self):
        for arguments, keywords in (
            ((), {"wrod": "x"}),
            (("x", "y"), {}),
        ):
            with self.assertRaisesRegex(
                TypeError, r"plain\(context, .*cannot be called"
            ):
                backgroundwork.plain.queue(self.folder, *arguments, **keywords)
        with self.assertRaisesRegex(TypeError, "missing .*'new_id'"):
            self.service.queueJob(backgroundwork.rename, self.folder)
        self.assertEqual(0, self.stored_jobs())

    def test_a_quota_that_is_not_there_is_refused(self):
        with self.assertRaisesRegex(ValueError, "no such quota"):
            backgroundwork.shrink.queue(self.folder)
        self.assertEqual(0, self.stored_jobs())


class TestKeysAndTitles(ServiceTestCase):
    def test_a_key_is_made_of_what_the_call_is_about(self):
        first = backgroundwork.thumbnail.queue(self.folder, 7)
        self.assertTrue(
            first.unique.endswith(f" {self.folder.UID()} 0007 by {TEST_USER_ID}")
        )
        self.assertIs(first, backgroundwork.thumbnail.queue(self.folder, size=7))
        self.assertIsNot(first, backgroundwork.thumbnail.queue(self.folder, 8))
        self.assertIsNot(first, backgroundwork.thumbnail.queue(self.portal, 7))
        self.assertEqual(3, self.stored_jobs())

    def test_defaults_count_in_a_key(self):
        first = backgroundwork.thumbnail.queue(self.folder)
        self.assertIs(first, backgroundwork.thumbnail.queue(self.folder, 200))

    def test_a_call_may_have_another_key_or_none(self):
        backgroundwork.thumbnail.queue(self.folder)
        calls = backgroundwork.thumbnail.using(unique="{size}", on_duplicate="refuse")
        calls.queue(self.folder)
        with self.assertRaises(DuplicateJobError):
            calls.queue(self.portal)
        job = backgroundwork.thumbnail.using(unique=None).queue(self.folder)
        self.assertIsNone(job.unique)

    def test_a_value_without_a_lasting_text_is_refused_in_a_key(self):
        with self.assertRaisesRegex(OptionError, "names 'page', which is a list"):
            backgroundwork.about.queue(self.folder, ["x"])
        with self.assertRaisesRegex(OptionError, "unique is .*format code 'd'"):
            backgroundwork.thumbnail.queue(self.folder, "wide")
        with self.assertRaisesRegex(OptionError, "unique has 0 characters"):
            backgroundwork.about.queue(self.folder, "")
        with self.assertRaisesRegex(OptionError, "unique has 301 characters"):
            backgroundwork.about.queue(self.folder, "x" * 301)
        self.assertEqual(0, self.stored_jobs())

    def test_debounced_calls_are_one_call(self):
        backgroundwork.refresh.queue(self.folder)
        transaction.commit()
        job = backgroundwork.refresh.queue(self.folder)
        self.assertGreater(job.begin_after, clock.now())
        drain()
        self.assertEqual([], work.happened)
        with travel(timedelta(minutes=6)):
            drain()
        self.assertEqual(["refreshed"], work.happened)

    def test_a_title_is_filled_and_shown(self):
        job = backgroundwork.rename.queue(self.folder, "new")
        transaction.commit()
        self.assertEqual("Rename to new", self.service.getJobInfo(job.id).title)

    def test_a_title_may_be_a_message(self):
        job = backgroundwork.convert.queue(self.folder, 5)
        transaction.commit()
        title = self.service.getJobInfo(job.id).title
        self.assertEqual("my.addon", title.domain)
        self.assertEqual(
            ("5", "/plone/folder"),
            (title.mapping["size"], title.mapping["context_path"]),
        )

    def test_a_title_that_got_too_long_is_cut(self):
        job = backgroundwork.rename.queue(self.folder, "x" * 500)
        self.assertEqual(200, len(job.title))


class TestScheduling(ServiceTestCase):
    def test_a_call_waits_until_its_moment(self):
        due = datetime(2040, 1, 2, 3, 4, tzinfo=timezone.utc)
        job = backgroundwork.plain.schedule(due, self.folder, "later")
        self.assertEqual(due, job.begin_after)
        drain()
        self.assertEqual([], work.happened)

    def test_a_timedelta_counts_from_now(self):
        before = clock.now()
        job = backgroundwork.plain.schedule(timedelta(hours=1), self.folder)
        self.assertLessEqual(before + timedelta(hours=1), job.begin_after)
        self.assertLessEqual(job.begin_after, clock.now() + timedelta(hours=1))

    def test_moments_without_a_clear_meaning_are_refused(self):
        for error, message, when in (
            (ValueError, "no time zone", datetime(2040, 1, 1)),
            (ValueError, "in the past", timedelta(seconds=-1)),
            (TypeError, "when is 60", 60),
        ):
            with self.assertRaisesRegex(error, message):
                backgroundwork.plain.schedule(when, self.folder)
        self.assertEqual(0, self.stored_jobs())

    def test_it_may_have_further_options(self):
        job = backgroundwork.plain.using(
            begin_by=timedelta(hours=2), priority=3
        ).schedule(timedelta(hours=1), self.folder)
        self.assertEqual((timedelta(hours=2), 3), (job.begin_by, job.priority))
