"""What can be asked about jobs: facts for pages and scripts, of one site."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine import quarantine
from collective.clockwork.engine.deaths import Evidence
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.presence import DispatcherAgents
from collective.clockwork.jobinfo import is_loadable
from collective.clockwork.jobinfo import JobInfo
from collective.clockwork.jobinfo import STATUSES
from collective.clockwork.jobinfo import TEXT_LIMIT
from collective.clockwork.testing import drain
from collective.clockwork.testing import running_worker
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping
from plone.app.testing import logout
from plone.app.testing import TEST_USER_ID
from transaction.interfaces import TransientError
from unittest import mock

import dataclasses
import transaction


class Unreadable:
    """A result whose repr is broken."""

    def __repr__(self):
        raise RuntimeError("no repr")


class Counted:
    """A value that counts how often its repr is asked for."""

    asked = 0

    def __repr__(self):
        Counted.asked += 1
        return "counted"


def return_unreadable(context):
    return Unreadable()


class LookupTestCase(ServiceTestCase):
    def info_of(self, job):
        transaction.commit()
        (info,) = (info for info in self.service.findJobs() if info.id == id_of(job))
        self.assertEqual(info, self.service.getJobInfo(info.id))
        return info


class TestFacts(LookupTestCase):
    def test_a_queued_job(self):
        job = self.service.queueJob(work.add_page, self.folder, "news", title="News")
        info = self.info_of(job)
        self.assertEqual("queued", info.status)
        self.assertEqual("", info.queue)
        self.assertEqual(
            "collective.clockwork.tests.plone.work.add_page", info.function
        )
        self.assertEqual("/plone/folder", info.context)
        self.assertEqual("/plone", info.site)
        self.assertEqual(TEST_USER_ID, info.user)
        self.assertEqual("'news', title='News'", info.arguments)
        self.assertEqual(("default",), info.quota_names)
        self.assertEqual(timezone.utc, info.queued_at.tzinfo)
        self.assertEqual("No worker is alive", info.reason)
        self.assertIsNone(info.started)
        self.assertIsNone(info.result)

    def test_a_completed_job(self):
        job = self.service.queueJob(work.add_numbers, self.folder, 40, 2)
        drain()
        info = self.info_of(job)
        self.assertEqual("completed", info.status)
        self.assertEqual("42", info.result)
        self.assertLessEqual(info.queued_at, info.started)
        self.assertLessEqual(info.started, info.ended)
        self.assertIsNone(info.error)
        self.assertIsNone(info.reason)

    def test_a_failed_job(self):
        job = self.service.queueJob(work.fail, self.folder, "broken")
        drain()
        info = self.info_of(job)
        self.assertEqual("failed", info.status)
        self.assertEqual("RuntimeError: broken", info.error)
        self.assertIn("in fail", info.traceback)
        self.assertIsNone(info.result)

    def test_a_delayed_job_tells_when_it_is_due_and_why_it_waits(self):
        due = datetime.now(timezone.utc) + timedelta(hours=1)
        job = self.service.queueJobWithDelay(None, due, work.note, self.folder, "x")
        info = self.info_of(job)
        self.assertEqual(due, info.due)
        self.assertEqual("Its time has not come", info.reason)

    def test_a_cancelled_job_tells_who_did_it_and_why(self):
        job = self.service.queueJob(work.note, self.folder, "x")
        transaction.commit()
        job.cancel(by="anna", reason="no more needed")
        for _moment in ("at once", "when it was cleared away"):
            info = self.info_of(job)
            self.assertEqual("cancelled", info.status)
            self.assertEqual("It was cancelled: ${details}", info.reason.default)
            self.assertEqual({"details": "anna: no more needed"}, info.reason.mapping)
            self.assertIsNone(info.error)
            self.assertEqual([info], self.service.findJobs(status="cancelled"))
            self.assertEqual([], self.service.findJobs(status="failed"))
            drain()

    def test_a_job_that_was_cancelled_by_nobody_in_particular(self):
        job = self.service.queueJob(work.note, self.folder, "x")
        transaction.commit()
        job.cancel()
        self.assertEqual("It was cancelled", self.info_of(job).reason)

    def test_a_job_that_was_set_aside_tells_how_often_its_process_died(self):
        job = self.service.queueJob(work.note, self.folder, "x")
        transaction.commit()
        queue = job.queue
        queue.pull()
        job._deaths = Evidence()
        quarantine.set_aside(queue, job, clock.now_us())
        transaction.commit()
        info = self.info_of(job)
        self.assertEqual("quarantined", info.status)
        self.assertEqual({"deaths": 0}, info.reason.mapping)
        self.assertEqual([info], self.service.findJobs(status="quarantined"))
        self.assertEqual(1, self.service.countJobs()["quarantined"])
        self.assertEqual(0, self.service.countJobs()["queued"])

    def test_a_job_in_a_paused_queue_says_so(self):
        job = self.service.queueJob(work.note, self.folder, "x")
        job.queue.pause()
        self.assertEqual("The queue is paused", self.info_of(job).reason)

    def test_a_job_of_anonymous_has_no_user(self):
        logout()
        job = self.service.queueJob(work.note, self.folder, "x")
        self.login_as_site_owner()
        self.assertIsNone(self.info_of(job).user)

    def test_a_batch_names_its_members_and_their_results(self):
        make = self.service.makeJob
        batch = self.service.queueSerialJobs(
            make(work.add_numbers, self.folder, 1), make(work.fail, self.folder)
        )
        name = "collective.clockwork.tests.plone.work"
        info = self.info_of(batch)
        self.assertIsNone(info.context)
        self.assertEqual(f"{name}.add_numbers, {name}.fail", info.arguments)
        drain()
        self.assertEqual("completed", self.info_of(batch).status)
        statuses = [info.status for info in self.service.findJobs()]
        self.assertEqual(["completed", "completed", "failed"], sorted(statuses))

    def test_a_running_job_is_active(self):
        job = self.service.queueJob(work.wait_for_release, self.folder)
        with running_worker(self.layer["zodbDB"]):
            transaction.commit()
            self.assertTrue(work.begun.wait(10))
            self.wait_until(lambda: self.info_of(job).status == "active")
            self.assertEqual(1, self.service.countJobs()["active"])
            self.assertEqual(1, self.service.workersAlive())
            work.released.set()
            self.wait_until(lambda: self.info_of(job).status == "completed")

    def test_a_running_job_tells_since_when_and_how_far(self):
        job = self.service.queueJob(work.report_half, self.folder, "half")
        with running_worker(self.layer["zodbDB"]):
            transaction.commit()
            self.wait_until(lambda: self.info_of(job).progress == 0.5)
            self.wait_until(lambda: self.info_of(job).started is not None)
            info = self.info_of(job)
            work.gates["half"].set()
            self.wait_until(lambda: self.info_of(job).status == "completed")
        self.assertEqual("active", info.status)
        self.assertLessEqual(info.queued_at, info.started)

    def test_what_a_job_reports_of_its_progress_is_told(self):
        job = self.service.queueJob(work.report_quarter, self.folder)
        drain()
        self.assertEqual(0.25, self.info_of(job).progress)

    def test_progress_that_is_no_share_is_not_shown(self):
        job = self.service.queueJob(work.add_numbers, self.folder)
        job.annotations["progress"] = "half"
        self.assertIsNone(self.info_of(job).progress)

    def test_long_texts_are_cut(self):
        job = self.service.queueJob(work.note, self.folder, "x" * 3 * TEXT_LIMIT)
        drain()
        info = self.info_of(job)
        self.assertEqual(TEXT_LIMIT, len(info.result))
        self.assertEqual(TEXT_LIMIT, len(info.arguments))

    def test_a_result_without_a_readable_form_does_not_hide_the_job(self):
        job = self.service.queueJob(return_unreadable, self.folder)
        drain()
        self.assertEqual("<Unreadable>", self.info_of(job).result)

    def test_of_huge_containers_only_the_beginning_is_read(self):
        rows = [[Counted()] * 300] * 300
        job = self.service.queueJob(
            work.note, self.folder, {"rows": tuple(rows), "more": PersistentList(rows)}
        )
        drain()
        Counted.asked = 0
        info = self.service.getJobInfo(job.id)
        self.assertTrue(info.result.startswith("{'rows': ([counted, counted, "))
        self.assertEqual([TEXT_LIMIT] * 2, [len(info.result), len(info.arguments)])
        self.assertLess(Counted.asked, 2 * TEXT_LIMIT)

    def test_small_values_are_shown_as_python_does(self):
        for value in (
            {"b": [1, (2,), {3}], "a": {}},
            PersistentMapping(b=b"x", a=PersistentList([None])),
            ((), [], set(), frozenset([1]), 1.5, "text"),
        ):
            with self.subTest(value):
                job = self.service.queueJob(work.note, self.folder, value)
                self.assertEqual(repr(value), self.info_of(job).arguments)

    def test_a_long_value_is_cut_at_its_end(self):
        for value in (b"x" * 3 * TEXT_LIMIT, 10 ** (2 * TEXT_LIMIT)):
            job = self.service.queueJob(work.note, self.folder, value)
            shown = f"{repr(value)[: TEXT_LIMIT - 1]}…"
            self.assertEqual(shown, self.info_of(job).arguments)

    def test_facts_cannot_be_changed(self):
        info = self.info_of(self.service.queueJob(work.note, self.folder, "x"))
        self.assertIsInstance(info, JobInfo)
        with self.assertRaises(dataclasses.FrozenInstanceError):
            info.status = "completed"


class TestSearch(LookupTestCase):
    def test_jobs_are_found_by_status(self):
        self.service.queueJob(work.add_numbers, self.folder, 1)
        self.service.queueJob(work.fail, self.folder)
        drain()
        self.service.queueJob(work.note, self.folder, "later")
        transaction.commit()
        for status, name in (
            ("completed", "add_numbers"),
            ("failed", "fail"),
            ("queued", "note"),
        ):
            (info,) = self.service.findJobs(status=status)
            self.assertEqual(name, info.function.rpartition(".")[2])
        self.assertEqual([], self.service.findJobs(status="active"))
        counts = dict.fromkeys(STATUSES, 0) | {"queued": 1, "completed": 1, "failed": 1}
        self.assertEqual(counts, self.service.countJobs())

    def test_another_status_is_refused(self):
        with self.assertRaisesRegex(ValueError, "queued, active, completed, failed"):
            self.service.findJobs(status="dead")

    def test_jobs_are_found_by_user(self):
        self.service.queueJob(work.note, self.folder, "hers")
        self.login_as_site_owner()
        self.service.queueJob(work.note, self.folder, "the owner's")
        transaction.commit()
        (info,) = self.service.findJobs(user=TEST_USER_ID)
        self.assertEqual("'hers'", info.arguments)

    def test_the_newest_come_first_and_not_more_than_asked_for(self):
        for number in range(5):
            self.service.queueJob(work.note, self.folder, number)
            transaction.commit()
        found = [info.arguments for info in self.service.findJobs(limit=3)]
        self.assertEqual(["4", "3", "2"], found)

    def test_what_runs_comes_first(self):
        running = self.service.queueJob(work.wait_for_release, self.folder)
        with running_worker(self.layer["zodbDB"]):
            transaction.commit()
            self.assertTrue(work.begun.wait(10))
            self.service.queueJob(work.add_numbers, self.folder)
            transaction.commit()
            self.wait_until(lambda: self.info_of(running).status == "active")
            found = [info.id for info in self.service.findJobs()]
            work.released.set()
            self.wait_until(lambda: self.info_of(running).status == "completed")
        self.assertEqual(running.id, found[0])
        self.assertEqual(2, len(found))

    def test_a_job_that_cannot_be_loaded_does_not_hide_the_others(self):
        self.service.queueJob(work.add_numbers, self.folder, work.Touchy())
        job = self.service.queueJob(work.add_numbers, self.folder)
        transaction.commit()
        self.layer["zodbDB"].cacheMinimize()
        with mock.patch.object(work.Touchy, "spoilt", True):
            self.assertEqual([job.id], [info.id for info in self.service.findJobs()])

    def test_one_that_cannot_be_loaded_is_not_known_by_its_id(self):
        job = self.service.queueJob(work.add_numbers, self.folder, work.Touchy())
        transaction.commit()
        job_id = job.id
        self.layer["zodbDB"].cacheMinimize()
        with mock.patch.object(work.Touchy, "spoilt", True):
            self.assertIsNone(self.service.getJobInfo(job_id))
        self.assertEqual(job_id, self.service.getJobInfo(job_id).id)

    def test_a_storage_that_is_away_does_not_make_a_job_unreadable(self):
        job = self.service.queueJob(work.add_numbers, self.folder)
        transaction.commit()
        job._p_deactivate()
        away = TransientError("the storage is away")
        with mock.patch.object(job._p_jar, "setstate", side_effect=away):
            with self.assertRaises(TransientError):
                is_loadable(job)

    def test_the_event_callbacks_of_jobs_are_not_listed(self):
        job = self.service.queueJob(work.note, self.folder, "x")
        job.addCallback(work.note_result)
        drain()
        self.assertEqual(1, len(self.service.findJobs()))

    def test_an_id_that_is_no_job_is_not_found(self):
        folder_id = int.from_bytes(self.folder.aq_base._p_oid, "big")
        for wrong in (str(folder_id), "0", "999999999", str(2**64), "x", "-1", ""):
            self.assertIsNone(self.service.getJobInfo(wrong), wrong)

    def test_looking_makes_no_queues(self):
        root = self.portal._p_jar.root()
        del root[KEY]
        self.assertEqual([], self.service.findJobs())
        self.assertEqual(0, sum(self.service.countJobs().values()))
        self.assertEqual(0, self.service.workersAlive())
        self.assertNotIn(KEY, root)

    def test_looking_writes_nothing(self):
        self.service.queueJob(work.note, self.folder, "x")
        transaction.commit()
        self.service.findJobs()
        self.service.countJobs()
        self.service.workersAlive()
        self.assertEqual([], list(self.portal._p_jar._registered_objects))


class TestWorkers(LookupTestCase):
    def test_without_a_worker_none_is_alive(self):
        self.assertEqual(0, self.service.workersAlive())

    def test_a_worker_is_alive_while_it_runs(self):
        with running_worker(self.layer["zodbDB"]):
            self.wait_until(lambda: self.service.workersAlive() == 1)
        transaction.begin()
        self.assertEqual(0, self.service.workersAlive())
        self.assertEqual(
            [DispatcherAgents],
            [
                type(agents)
                for agents in self.service.getQueues()[""].dispatchers.values()
            ],
        )


def id_of(job):
    return str(int.from_bytes(job._p_oid, "big"))
