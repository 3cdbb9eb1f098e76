"""The utility for schedules: added, changed, run, looked at and removed."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine.backoff import Backoff
from collective.clockwork.schedules.interfaces import IScheduleFired
from collective.clockwork.schedules.interfaces import IScheduler
from collective.clockwork.schedules.service import Scheduler
from collective.clockwork.service import queues_connection
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import backgroundwork
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.schedulerscase import ANNA
from collective.clockwork.tests.plone.schedulerscase import NOTE
from collective.clockwork.tests.plone.schedulerscase import SchedulersTestCase
from collective.clockwork.tests.plone.schedulerscase import SUM
from collective.clockwork.tests.plone.schedulerscase import tell_user
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from plone import api
from plone.app.testing import TEST_USER_ID
from zope.component.hooks import setSite
from zope.interface.verify import verifyClass
from zope.interface.verify import verifyObject

import transaction


DAY = timedelta(days=1)


class TestAdding(SchedulersTestCase):
    def test_the_utility_keeps_its_interface(self):
        verifyClass(IScheduler, Scheduler)
        verifyObject(IScheduler, self.scheduler)

    def test_a_schedule_has_the_fields_that_were_given(self):
        given = {
            "title": "Every night",
            "cron": "30 2 * * 1-5",
            "timezone": "Europe/Berlin",
            "context": "folder",
            "arguments": {"word": "ä", "list": [1, None]},
            "grace": timedelta(minutes=1),
            "overlap": "queue",
            "missed": "all",
            "jitter": timedelta(seconds=90),
            "keep": 3,
            "quota": "default",
            "active": False,
        }
        self.register(SUM, keyword_arguments, "Any")
        info = self.scheduler.add("nightly", SUM, **given)
        self.assertEqual(info, self.scheduler.get("nightly"))
        shown = {name: getattr(info, name) for name in given}
        self.assertEqual(given, shown)
        self.assertEqual(("nightly", SUM), (info.name, info.function))
        self.assertEqual((TEST_USER_ID, "site"), (info.user, info.origin))
        self.assertIsNone(info.problem)

    def test_one_with_nothing_but_a_time_has_the_defaults(self):
        info = self.scheduler.add("sums", SUM, every=DAY)
        self.assertEqual(("sums", DAY, None), (info.title, info.every, info.cron))
        self.assertEqual(("", {}, "UTC"), (info.context, info.arguments, info.timezone))
        self.assertEqual(("skip", "once"), (info.overlap, info.missed))
        self.assertEqual((25, "default", True), (info.keep, info.quota, info.active))
        self.assertEqual((timedelta(minutes=5), timedelta()), (info.grace, info.jitter))
        self.assertIsNone(info.last)

    def test_the_time_zone_is_that_of_the_site(self):
        api.portal.set_registry_record("plone.portal_timezone", "Europe/Berlin")
        info = self.add()
        self.assertEqual("Europe/Berlin", info.timezone)
        self.assertEqual((2, 30), (info.next.hour, info.next.minute))

    def test_the_next_firing_is_shown_in_the_zone(self):
        clock.freeze(datetime(2026, 6, 1, 12, tzinfo=timezone.utc))
        self.addCleanup(clock.freeze, None)
        info = self.add(timezone="Asia/Tokyo")
        self.assertEqual("2026-06-02T02:30:00+09:00", info.next.isoformat())

    def test_a_function_object_is_shown_by_its_registered_name(self):
        info = self.scheduler.add("sums", work.add_numbers, every=DAY)
        self.assertEqual(SUM, info.function)

    def test_one_that_is_not_registered_is_taken_from_python(self):
        info = self.scheduler.add("who", tell_user, every=DAY)
        self.assertEqual(f"{tell_user.__module__}:tell_user", info.function)
        self.assertIsNone(info.problem)
        job = self.scheduler.run_now("who")
        drain()
        self.assertEqual(TEST_USER_ID, job.result)

    def test_what_a_function_asks_for_itself_holds_for_its_firings(self):
        self.service.getQueues()[""].quotas.create("thumbnails", size=2)
        self.register("tests.shrink", backgroundwork.shrink, "Shrink")
        info = self.scheduler.add("shrink", "tests.shrink", every=DAY)
        self.assertEqual("thumbnails", info.quota)
        job = self.scheduler.run_now("shrink")
        self.assertEqual(("thumbnails",), tuple(job.quota_names))
        self.assertTrue(job.groupable)
        self.assertEqual(Backoff(tries=3), job.retry_policy_factory)
        info = self.scheduler.change("shrink", quota="default")
        job = self.scheduler.run_now("shrink")
        self.assertEqual(("default",), tuple(job.quota_names))

    def test_the_context_can_be_an_object(self):
        self.assertEqual("folder", self.add(context=self.folder).context)
        self.assertEqual("", self.add("other", context=self.portal).context)

    def test_a_context_that_was_moved_is_found(self):
        self.add(context="folder")
        with api.env.adopt_roles(["Manager"]):
            api.content.rename(self.folder, "renamed")
        transaction.commit()
        info = self.scheduler.get("notes")
        self.assertEqual(("renamed", None), (info.context, info.problem))
        job = self.scheduler.run_now("notes")
        drain()
        self.assertEqual("completed-status", job.status)
        info = self.scheduler.change("notes", context=info.context, keep=3)
        self.assertEqual(("renamed", 3), (info.context, info.keep))

    def test_handlers_are_told(self):
        info = self.add()
        self.assertEqual([("notes", info)], [(e.name, e.info) for e in self.told])

    def test_nothing_is_stored_before_the_commit(self):
        self.scheduler.add("notes", NOTE, every=DAY, arguments={"word": "x"})
        transaction.abort()
        self.assertEqual([], self.names())

    def test_they_are_listed_by_name(self):
        for name in ("b", "a", "ä"):
            self.add(name)
        self.assertEqual(["a", "b", "ä"], self.names())


def keyword_arguments(context, **given):
    return given


class TestRefusals(SchedulersTestCase):
    def refused(self, kind, *parts, name="notes", function=NOTE, **given):
        given = {"cron": "0 0 * * *", "arguments": {"word": "x"}, **given}
        self.assert_refused(kind, parts, self.scheduler.add, name, function, **given)
        self.assertEqual([], self.names())

    def test_names(self):
        for name in ("", "x" * 101, "a\nb", " a"):
            with self.subTest(name=name):
                self.refused(ValueError, f"name is {name!r}", name=name)
        self.refused(TypeError, "name is 1", name=1)

    def test_a_second_one_of_a_name(self):
        self.add()
        with self.assertRaises(KeyError) as caught:
            self.add()
        self.assertIn("already", str(caught.exception))

    def test_times(self):
        self.refused(ValueError, "neither was given", cron=None)
        self.refused(ValueError, "both was given", every=DAY)
        self.refused(ValueError, "five", cron="* * * * * *")
        self.refused(ValueError, "'61 * * * *'", cron="61 * * * *")
        self.refused(ValueError, "'0 0 30 2 *'", cron="0 0 30 2 *")
        self.refused(TypeError, "cron is 5", cron=5)
        self.refused(TypeError, "every is 5", cron=None, every=5)
        self.refused(ValueError, "1 second", cron=None, every=timedelta())
        self.refused(ValueError, "'Mars/City'", timezone="Mars/City")

    def test_functions_that_are_not_registered(self):
        for name in ("os.system", "os:system", "nobody"):
            with self.subTest(name=name):
                self.refused(
                    ValueError, f"function is {name!r}", repr(NOTE), function=name
                )

    def test_functions_that_no_worker_could_import(self):
        self.refused(ValueError, "lambda", function=lambda context: None)
        self.refused(TypeError, "cannot be called", function=5)

    def test_arguments_that_the_function_does_not_take(self):
        self.refused(TypeError, "missing a required argument: 'word'", arguments={})
        self.refused(TypeError, "'wort'", arguments={"word": "x", "wort": "y"})

    def test_arguments_that_json_cannot_hold(self):
        self.refused(TypeError, "arguments is [1]", arguments=[1])
        self.refused(TypeError, "keys must be texts", arguments={1: 2})
        self.refused(ValueError, "'a b'", arguments={"a b": 2})
        self.refused(ValueError, "it may hold", arguments={"word": self.folder})
        self.refused(ValueError, "it may hold", arguments={"word": float("nan")})
        self.refused(ValueError, "in place of tuples", arguments={"word": (1, 2)})
        self.refused(ValueError, "characters as JSON", arguments={"word": "x" * 10_000})

    def test_other_fields(self):
        self.refused(ValueError, "grace", "from 0 to", grace=timedelta(seconds=-1))
        self.refused(ValueError, "jitter", jitter=timedelta(days=4000))
        self.refused(ValueError, "context", context="x/" * 501)
        self.refused(TypeError, "grace is 5", grace=5)
        self.refused(ValueError, "'skip', 'queue', 'both'", overlap="wait")
        self.refused(ValueError, "'skip', 'once', 'all'", missed="never")
        self.refused(ValueError, "keep is 0", keep=0)
        self.refused(TypeError, "keep is True", keep=True)
        self.refused(TypeError, "active is 1", active=1)
        self.refused(TypeError, "title is 1", title=1)
        self.refused(ValueError, "quota is 'none'", "'default'", quota="none")
        self.refused(ValueError, "context is 'gone'", context="gone")
        self.refused(ValueError, "user is 'gone'", user="gone")

    def test_a_field_that_is_unknown(self):
        self.refused(TypeError, "grase is no field", "did you mean 'grace'", grase=1)


class TestChanging(SchedulersTestCase):
    def test_what_is_given_is_changed_and_the_rest_is_kept(self):
        self.add(context="folder")
        info = self.scheduler.change("notes", title="Notes", keep=7)
        self.assertEqual(("Notes", 7, "folder"), (info.title, info.keep, info.context))
        self.assertEqual("30 2 * * *", info.cron)

    def test_an_interval_takes_the_place_of_cron_and_the_other_way_round(self):
        self.add()
        info = self.scheduler.change("notes", every=DAY)
        self.assertEqual((None, DAY), (info.cron, info.every))
        info = self.scheduler.change("notes", cron="0 0 * * *")
        self.assertEqual(("0 0 * * *", None), (info.cron, info.every))
        info = self.scheduler.change("notes", timezone="Asia/Tokyo")
        self.assertEqual(("0 0 * * *", "Asia/Tokyo"), (info.cron, info.timezone))

    def test_what_is_there_can_be_given_back(self):
        self.scheduler.add("who", tell_user, every=DAY)
        transaction.commit()
        self.told.clear()
        info = self.scheduler.get("who")
        same = {
            name: getattr(info, name)
            for name in ("function", "every", "user", "context", "arguments", "quota")
        }
        self.assertEqual(info, self.scheduler.change("who", **same))
        self.assertEqual([], self.told)
        self.assert_nothing_is_written()

    def assert_nothing_is_written(self):
        self.assertFalse(queues_connection(self.portal)._registered_objects)

    def test_a_change_is_told_and_refused_ones_leave_all_as_it_was(self):
        before = self.add()
        self.told.clear()
        self.assert_refused(
            ValueError, "overlap", self.scheduler.change, "notes", keep=7, overlap="x"
        )
        self.assertEqual(before, self.scheduler.get("notes"))
        self.assertEqual([], self.told)
        info = self.scheduler.change("notes", keep=7)
        self.assertEqual([info], [event.info for event in self.told])

    def test_what_is_gone_meanwhile_is_no_reason_to_refuse_another_change(self):
        self.add_user(ANNA)
        self.add(user=ANNA)
        with api.env.adopt_roles(["Manager"]):
            api.user.delete(ANNA)
        transaction.commit()
        self.assertEqual(7, self.scheduler.change("notes", keep=7).keep)

    def test_the_name_is_no_field(self):
        self.add()
        with self.assertRaises(TypeError):
            self.scheduler.change("notes", **{"name": "other"})

    def test_an_interval_counts_from_a_full_second(self):
        self.addCleanup(clock.freeze, None)
        clock.freeze(datetime(2026, 6, 1, 12, 0, 0, 369_954, timezone.utc))
        info = self.add(every=timedelta(minutes=1))
        self.assertEqual("12:01:00", f"{info.next:%H:%M:%S.%f}".removesuffix(".000000"))
        clock.freeze(datetime(2026, 6, 1, 12, 0, 7, 369_954, timezone.utc))
        info = self.scheduler.change("notes", every=timedelta(seconds=1))
        self.assertEqual("12:00:08", f"{info.next:%H:%M:%S.%f}".removesuffix(".000000"))

    def test_another_time_begins_anew(self):
        self.addCleanup(clock.freeze, None)
        clock.freeze(datetime(2026, 6, 1, 12, tzinfo=timezone.utc))
        self.add(every=timedelta(hours=1))
        clock.freeze(datetime(2026, 6, 1, 15, 30, tzinfo=timezone.utc))
        info = self.scheduler.change("notes", every=timedelta(hours=2))
        self.assertEqual("17:30", f"{info.next:%H:%M}")

    def test_there_must_be_one(self):
        for method in ("change", "remove", "activate", "deactivate", "run_now"):
            with self.subTest(method=method):
                self.assert_refused(
                    LookupError, "'gone'", getattr(self.scheduler, method), "gone"
                )
        for method in ("firings", "forget_firings"):
            with self.assertRaises(LookupError):
                getattr(self.scheduler, method)("gone")
        self.assertIsNone(self.scheduler.get("gone"))


class TestSwitches(SchedulersTestCase):
    def test_a_schedule_is_deactivated_and_activated(self):
        self.add()
        self.scheduler.deactivate("notes")
        info = self.scheduler.get("notes")
        self.assertEqual((False, None), (info.active, info.next))
        self.scheduler.activate("notes")
        info = self.scheduler.get("notes")
        self.assertTrue(info.active)
        self.assertIsNotNone(info.next)

    def test_all_of_a_site_are_switched_off_and_keep_their_own_switch(self):
        self.add()
        self.add("off", active=False)
        self.scheduler.disable()
        self.assertFalse(self.scheduler.is_enabled())
        self.assertEqual([None, None], [info.next for info in self.scheduler.list()])
        self.scheduler.enable()
        self.assertTrue(self.scheduler.is_enabled())
        self.assertEqual(
            {"notes": True, "off": False},
            {info.name: info.next is not None for info in self.scheduler.list()},
        )

    def test_a_site_without_schedules_is_enabled(self):
        self.assertTrue(self.scheduler.is_enabled())
        self.scheduler.enable()
        self.assertTrue(self.scheduler.is_enabled())


class TestRunning(SchedulersTestCase):
    def test_it_runs_now_whether_it_is_active_or_not(self):
        self.add(active=False, context="folder")
        fired = []
        self.handle(IScheduleFired, fired.append)
        before = self.scheduler.get("notes")
        job = self.scheduler.run_now("notes")
        drain()
        self.assertEqual(["notes"], work.happened)
        (info,) = self.scheduler.firings("notes")
        self.assertEqual((None, "completed"), (info.slot, info.status))
        self.assertEqual((TEST_USER_ID, job.id), (info.by, info.job_id))
        self.assertEqual("'notes'", info.message)
        after = self.scheduler.get("notes")
        self.assertEqual((before.next, info), (after.next, after.last))
        self.assertEqual([("notes", None)], [(e.name, e.slot) for e in fired])

    def test_of_a_failure_the_traceback_is_kept(self):
        self.scheduler.add("broken", work.fail, every=DAY)
        self.scheduler.run_now("broken")
        drain()
        (info,) = self.scheduler.firings("broken")
        self.assertEqual("failed", info.status)
        self.assertIn("RuntimeError", info.message)
        self.assertIn("work.py", info.traceback)

    def test_it_runs_as_its_user(self):
        self.add_user(ANNA)
        self.scheduler.add("who", tell_user, every=DAY, user=ANNA)
        job = self.scheduler.run_now("who")
        drain()
        self.assertEqual(ANNA, job.result)

    def test_the_newest_firing_is_first_and_as_many_are_kept_as_asked_for(self):
        self.add(keep=2)
        jobs = [self.scheduler.run_now("notes") for _number in range(3)]
        drain()
        found = [info.job_id for info in self.scheduler.firings("notes")]
        self.assertEqual([jobs[2].id, jobs[1].id], found)

    def test_those_that_are_over_can_be_forgotten(self):
        self.add()
        self.scheduler.run_now("notes")
        drain()
        waiting = self.scheduler.run_now("notes")
        transaction.commit()
        self.scheduler.forget_firings("notes")
        self.assertEqual(
            [waiting.id], [info.job_id for info in self.scheduler.firings("notes")]
        )
        drain()
        self.scheduler.forget_firings("notes")
        self.assertEqual([], self.scheduler.firings("notes"))

    def test_what_cannot_run_says_why(self):
        self.add_user(ANNA)
        self.add(user=ANNA)
        with api.env.adopt_roles(["Manager"]):
            api.user.delete(ANNA)
        transaction.commit()
        self.assertEqual(
            "There is no user ${user}.", self.scheduler.get("notes").problem
        )
        self.assert_refused(ValueError, ANNA, self.scheduler.run_now, "notes")


class TestRemoval(SchedulersTestCase):
    def test_a_removed_one_is_gone_and_can_be_added_again(self):
        self.add()
        self.scheduler.remove("notes")
        self.assertEqual([], self.names())
        self.assertEqual(("notes", None), (self.told[-1].name, self.told[-1].info))
        self.assertEqual([], self.add() and self.scheduler.firings("notes"))

    def test_what_it_has_queued_is_done(self):
        self.add(overlap="queue")
        self.scheduler.run_now("notes")
        self.scheduler.run_now("notes")
        transaction.commit()
        quotas = self.service.getQueues()[""].quotas
        self.assertEqual(1, sum(name.startswith("schedule ") for name in quotas))
        self.scheduler.remove("notes")
        drain()
        self.assertEqual(["notes", "notes"], work.happened)
        self.assertEqual([], [name for name in quotas if name.startswith("schedule ")])


class TestPreview(SchedulersTestCase):
    def test_the_next_five_moments_of_a_cron(self):
        start = datetime(2026, 3, 27, tzinfo=timezone.utc)
        moments = self.scheduler.preview(
            cron="30 2 * * *", timezone="Europe/Berlin", start=start
        )
        self.assertEqual(
            ["27 02:30", "28 02:30", "29 03:00", "30 02:30", "31 02:30"],
            [f"{moment:%d %H:%M}" for moment in moments],
        )

    def test_as_many_as_asked_for_of_an_interval(self):
        start = datetime(2026, 3, 27, tzinfo=timezone.utc)
        moments = self.scheduler.preview(every=DAY, start=start, count=2)
        self.assertEqual([start + DAY, start + 2 * DAY], moments)
        self.assertEqual([], self.scheduler.preview(every=DAY, count=0))

    def test_nonsense_is_refused(self):
        preview = self.scheduler.preview
        self.assert_refused(ValueError, "neither", preview)
        self.assert_refused(ValueError, "'x'", preview, cron="x")
        self.assert_refused(ValueError, "count is -1", preview, every=DAY, count=-1)
        self.assert_refused(ValueError, "count is True", preview, every=DAY, count=True)
        for time in ({"every": 3660 * DAY}, {"cron": "0 0 29 2 */7"}):
            self.assert_refused(ValueError, "year 9999", preview, count=1000, **time)

    def test_it_is_asked_in_a_site(self):
        setSite(None)
        self.addCleanup(setSite, self.portal)
        for call in (
            self.scheduler.preview,
            self.scheduler.list,
            self.scheduler.functions,
            self.scheduler.is_enabled,
        ):
            with self.assertRaises(LookupError):
                call()
