"""Where background views are run, how long their results stay, and what is stored."""

from __future__ import annotations

from collective.clockwork.backgroundview import answer
from collective.clockwork.backgroundview import body
from collective.clockwork.backgroundview import here
from collective.clockwork.browser import NoSuchProcessError
from collective.clockwork.browser import ThreadDiedBeforeCompletionError
from collective.clockwork.engine import clock
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.tidy import forget_old_jobs
from collective.clockwork.jobinfo import VIEWS_AGENT
from collective.clockwork.testing import drain
from collective.clockwork.testing import running_worker
from collective.clockwork.testing import travel
from collective.clockwork.tests.plone import asyncviews
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.test_asyncview import AsyncViewTestCase
from datetime import timedelta
from unittest.mock import patch
from ZODB.POSException import ConflictError
from ZODB.serialize import referencesf
from zope.component import getGlobalSiteManager
from zope.i18n import translate

import threading
import transaction


class HereTests(AsyncViewTestCase):
    """Without a worker, this very process runs the views."""

    def setUp(self):
        super().setUp()
        self.addCleanup(here.stop)
        self.enterContext(patch.object(here, "allowed", True))

    def start_here(self, name, /, **form):
        process_id = self.start(name, **form)
        transaction.commit()
        return process_id

    def is_finished(self, name, process_id):
        return self.state(name, process_id)["finished"]

    def test_without_a_worker_this_instance_runs_it(self):
        process_id = self.start_here("my_process_view", name="Ann")
        self.wait_until(lambda: self.is_finished("my_process_view", process_id))
        self.assertEqual(b"Hello, Ann!", self.view().result(process_id).body)

    def test_nothing_is_started_by_what_is_aborted(self):
        self.start("my_process_view")
        transaction.abort()
        self.assertFalse(here.is_running())

    def test_on_a_layer_without_a_worker_nothing_is_run_behind_a_tests_back(self):
        with patch.object(here, "allowed", False):
            self.start_here("my_process_view")
        self.assertFalse(here.is_running())

    def test_a_view_may_insist_on_a_worker(self):
        with patch.object(asyncviews.Greeting, "run_without_worker", False):
            self.start_here("my_process_view")
        self.assertFalse(here.is_running())

    def test_there_is_no_thread_but_those_of_the_dispatcher(self):
        before = {thread.name for thread in threading.enumerate()}
        process_id = self.start_here("held")
        self.assertTrue(asyncviews.begun.wait(20))
        state = {}

        def is_told():
            state.update(self.state("held", process_id))
            return state["progress"] == 50

        self.wait_until(is_told)
        own = {thread.name for thread in threading.enumerate()} - before
        self.assertTrue(own)
        self.assertEqual([], [name for name in own if not name.startswith("clockwork")])
        asyncviews.released.set()
        self.wait_until(lambda: self.is_finished("held", process_id))

    def test_one_at_a_time_is_run(self):
        first = self.start_here("held")
        second = self.start_here("my_process_view")
        self.assertTrue(asyncviews.begun.wait(20))
        self.wait_until(lambda: self.state("held", first)["progress"] == 50)
        self.assertFalse(self.is_finished("my_process_view", second))
        asyncviews.released.set()
        self.wait_until(lambda: self.is_finished("my_process_view", second))

    def test_other_jobs_wait_for_a_worker(self):
        job = self.service.queueJob(work.add_numbers, self.folder, 1, 2)
        process_id = self.start_here("my_process_view")
        self.wait_until(lambda: self.is_finished("my_process_view", process_id))
        self.assertEqual("pending-status", job.status)
        self.assertEqual(0, self.service.workersAlive())
        self.assertEqual("No worker is alive", self.service.getJobInfo(job.id).reason)

    def test_when_a_worker_is_back_it_gets_the_views(self):
        process_id = self.start_here("my_process_view")
        self.wait_until(lambda: self.is_finished("my_process_view", process_id))
        with running_worker(self.layer["zodbDB"]):
            self.wait_until(lambda: self.service.workersAlive() == 1)
            other = self.start_here("my_process_view")
            self.wait_until(lambda: self.is_finished("my_process_view", other))
            names = {
                agent.name
                for agents in self.service.getQueues()[""].dispatchers.values()
                for agent in agents.values()
                if [job for job in agent.completed if self.is_job(job, other)]
            }
        self.assertNotIn(VIEWS_AGENT, names)

    def is_job(self, job, process_id):
        return job.id == str(int(process_id[32:], 16))

    def test_with_a_worker_nothing_is_started_here(self):
        with running_worker(self.layer["zodbDB"]):
            self.wait_until(lambda: self.service.workersAlive() == 1)
            process_id = self.start_here("my_process_view")
            self.wait_until(lambda: self.is_finished("my_process_view", process_id))
        self.assertFalse(here.is_running())

    def test_what_an_instance_had_not_ended_when_it_was_stopped_goes_on_later(self):
        process_id = self.start_here("held")
        self.assertTrue(asyncviews.begun.wait(20))
        stopping = threading.Thread(target=here.stop, args=(0,))
        stopping.start()
        stopping.join(20)
        self.assertFalse(here.is_running())
        asyncviews.begun.clear()
        # Whoever looks at the page again has it run.
        self.assertFalse(self.is_finished("held", process_id))
        transaction.commit()
        self.assertTrue(asyncviews.begun.wait(20))
        asyncviews.released.set()
        self.wait_until(lambda: self.is_finished("held", process_id))
        self.assertEqual(b"released", self.view("held").result(process_id).body)

    def test_it_leaves_no_handler_behind(self):
        registry = getGlobalSiteManager()
        before = list(registry.registeredHandlers())
        here.start(self.layer["zodbDB"])
        here.start(self.layer["zodbDB"])
        here.stop()
        here.stop()
        self.assertEqual(before, list(registry.registeredHandlers()))


class RestartTests(AsyncViewTestCase):
    def test_a_worker_that_begins_anew_does_the_work_once_more(self):
        process_id = self.start("held")
        transaction.commit()
        with running_worker(self.layer["zodbDB"]) as dispatcher:
            self.assertTrue(asyncviews.begun.wait(20))
            dispatcher.deactivate(grace=0)
            asyncviews.released.set()
        self.assertEqual(False, self.state("held", process_id)["finished"])
        with running_worker(self.layer["zodbDB"]):
            self.wait_until(lambda: self.state("held", process_id)["finished"])
        self.assertEqual(b"released", self.view("held").result(process_id).body)


class TwoDatabasesTests(AsyncViewTestCase):
    """The queues are in a database of their own, and a worker runs all the time."""

    layer = asyncviews.ASYNC_VIEWS_WORKER_TESTING

    def test_all_of_it_is_in_the_database_of_the_queues(self):
        process_id = self.start("answering", kind="large")
        transaction.commit()
        self.wait_until(lambda: self.state("answering", process_id)["finished"])
        connection = self.service.getQueues()._p_jar
        job = self.service.getJob(str(int(process_id[32:], 16)))
        process = job.args[0]
        self.assertEqual("async", connection.db().database_name)
        for stored in (job, process, process.answer, process.answer.body):
            self.assertIs(connection, stored._p_jar)
        response = self.view("answering").result(process_id)
        self.assertEqual(1_000_000, len(b"".join(response.body)))


class KeepingTests(AsyncViewTestCase):
    def test_a_result_can_be_fetched_until_it_expires(self):
        process_id = self.run_to_its_end("kept")
        for _time in range(2):
            self.assertEqual(b"kept", self.view("kept").result(process_id).body)
        with travel(timedelta(minutes=59)):
            self.assertEqual(b"kept", self.view("kept").result(process_id).body)
        with travel(timedelta(minutes=61)):
            for method in ("result", "completed", "processing"):
                with self.assertRaises(NoSuchProcessError):
                    getattr(self.view("kept"), method)(process_id)

    def test_by_default_a_result_is_kept_for_a_day(self):
        process_id = self.run_to_its_end()
        with travel(timedelta(hours=23)):
            self.assertIs(True, self.view().completed(process_id))
        with travel(timedelta(hours=25)), self.assertRaises(NoSuchProcessError):
            self.view().completed(process_id)

    def test_a_failure_is_kept_as_long(self):
        process_id = self.run_to_its_end("failing")
        error = ThreadDiedBeforeCompletionError
        with travel(timedelta(hours=23)), self.assertRaises(error):
            self.view("failing").completed(process_id)
        with travel(timedelta(hours=25)), self.assertRaises(NoSuchProcessError):
            self.view("failing").completed(process_id)

    def test_what_waits_does_not_expire(self):
        process_id = self.start("kept")
        transaction.commit()
        with travel(timedelta(days=30)):
            self.assertIs(False, self.view("kept").completed(process_id))

    def test_what_has_expired_is_swept_and_its_blob_goes_with_it(self):
        process_id = self.start("answering", kind="large")
        transaction.commit()
        with running_worker(self.layer["zodbDB"]):
            self.wait_until(lambda: self.state("answering", process_id)["finished"])
        transaction.begin()
        job = self.job_of(process_id)
        self.assertIn(job.id, self.kept_jobs())
        blob_oid = job.args[0].answer.body._p_oid
        queue = self.service.getQueues()[""]
        with travel(timedelta(hours=23)):
            forget_old_jobs(queue, clock.now_us())
        transaction.commit()
        self.assertIn(job.id, self.kept_jobs())
        with travel(timedelta(days=2)):
            forget_old_jobs(queue, clock.now_us())
        transaction.commit()
        self.assertNotIn(job.id, self.kept_jobs())
        self.assertNotIn(blob_oid, self.reachable(queue))

    def job_of(self, process_id):
        return self.service.getJob(str(int(process_id[32:], 16)))

    def kept_jobs(self):
        queue = self.service.getQueues()[""]
        return {
            job.id
            for agents in queue.dispatchers.values()
            for agent in agents.values()
            for job in agent.completed
        }

    def reachable(self, queue):
        """The oids that a pack would keep, from the queue on.

        An intake remembers its last jobs until it is idle for an hour: see the tests
        of the engine.
        """
        connection = queue._p_jar
        todo, found = [queue._p_oid], {queue.intakes._p_oid}
        while todo:
            oid = todo.pop()
            if oid not in found:
                found.add(oid)
                todo += referencesf(connection.db().storage.load(oid, "")[0])
        return found

    def test_a_fetched_result_is_dropped_at_once(self):
        process_id = self.run_to_its_end()
        process = self.job_of(process_id).args[0]
        self.view().result(process_id)
        transaction.commit()
        self.assertIsNone(process.answer)

    def test_of_two_who_fetch_it_at_the_same_moment_one_gets_it(self):
        process_id = self.run_to_its_end()
        transaction.commit()
        self.assertEqual(b"Hello, world!", self.view().result(process_id).body)
        self.fetch_elsewhere(self.job_of(process_id).args[0]._p_oid)
        with self.assertRaises(ConflictError):
            transaction.commit()
        transaction.abort()
        # The publisher tries again.
        with self.assertRaises(NoSuchProcessError):
            self.view().result(process_id)

    def fetch_elsewhere(self, oid):
        other = transaction.TransactionManager()
        connection = self.layer["zodbDB"].open(other)
        process = connection.get(oid)
        process.answer, process.fetched = None, True
        other.commit()
        connection.close()


class StoredTests(AsyncViewTestCase):
    def test_what_does_not_fit_needs_a_database_with_blobs(self):
        connection = self.service.getQueues()._p_jar
        with patch.object(body.IBlobStorage, "providedBy", lambda storage: False):
            kept = body.keep([b"x" * body.SHORT], connection)
            self.assertEqual((b"x" * body.SHORT, body.SHORT), kept)
            with self.assertRaisesRegex(ValueError, "blob-dir"):
                body.keep([b"x" * body.SHORT, b"y"], connection)

    def test_the_options_of_the_job_are_those_of_the_view(self):
        options = {"title": "Greeting", "timeout": timedelta(minutes=1), "priority": 7}
        with patch.object(asyncviews.Greeting, "job_options", options):
            process_id = self.start()
        transaction.commit()
        job = self.service.getJob(str(int(process_id[32:], 16)))
        self.assertEqual(("Greeting", 7), (job.title, job.priority))
        self.assertEqual(timedelta(minutes=1), job.timeout)
        self.assertEqual(("clockwork-views",), job.quota_names)

    def test_a_view_may_be_done_in_another_queue(self):
        queue = self.service.getQueues()["slow"] = Queue()
        for asked in ("slow", queue):
            with patch.object(asyncviews.Greeting, "job_options", {"queue": asked}):
                process_id = self.start()
            transaction.commit()
            job = self.service.getJob(str(int(process_id[32:], 16)))
            self.assertEqual("slow", job.queue.name)
            self.assertEqual(("clockwork-views",), job.quota_names)
        for wrong in ("unknown", None):
            with patch.object(asyncviews.Greeting, "job_options", {"queue": wrong}):
                with self.assertRaisesRegex(ValueError, "queue"):
                    self.start()

    def test_of_a_view_that_is_unique_both_visitors_follow_the_same_work(self):
        options = {"unique": "greeting", "on_duplicate": "drop"}
        with patch.object(asyncviews.Greeting, "job_options", options):
            first, second = self.start(name="Ann"), self.start(name="Bob")
        self.assertEqual(first, second)
        self.assertEqual(1, drain())
        self.assertEqual(b"Hello, Ann!", self.view().result(second).body)

    def test_without_a_title_a_job_is_called_by_the_name_of_its_view(self):
        process_id = self.start()
        transaction.commit()
        job = self.service.getJob(str(int(process_id[32:], 16)))
        self.assertEqual("View my_process_view", translate(job.title))

    def test_a_job_shows_no_more_than_the_name_of_its_view(self):
        process_id = self.start(name="secret-in-a-form")
        transaction.commit()
        info = self.service.getJobInfo(str(int(process_id[32:], 16)))
        self.assertEqual("<process of the view 'my_process_view'>", info.arguments)

    def test_a_conflict_has_the_view_run_again_with_the_same_request(self):
        kept = answer.keep
        calls = []

        def conflicting(*args):
            calls.append(args)
            if len(calls) == 1:
                raise transaction.interfaces.TransientError("somebody was faster")
            return kept(*args)

        with patch.object(answer, "keep", conflicting):
            process_id = self.run_to_its_end(name="Ann")
        self.assertEqual(2, len(calls))
        self.assertEqual(b"Hello, Ann!", self.view().result(process_id).body)

    def test_drained_jobs_find_the_form(self):
        self.start("uploading", name="Ann")
        self.assertEqual(1, drain())
