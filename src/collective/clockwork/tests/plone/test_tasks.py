"""Ready-made jobs: changing states, and deleting."""

from __future__ import annotations

from AccessControl import Unauthorized
from collective.clockwork.engine.context import current
from collective.clockwork.jobinfo import describe
from collective.clockwork.tasks import is_task
from collective.clockwork.tasks import offer
from collective.clockwork.tasks import report as reporting
from collective.clockwork.tasks.tree import places
from collective.clockwork.testing import drain
from collective.clockwork.testing import running_worker
from collective.clockwork.testing import wait_for_result
from collective.clockwork.tests.codeblocks import named_blocks
from collective.clockwork.tests.plone.taskcase import EDITOR
from collective.clockwork.tests.plone.taskcase import TaskTestCase
from contextlib import redirect_stdout
from plone import api
from plone.app.testing import SITE_OWNER_NAME
from Products.CMFCore.interfaces import IActionSucceededEvent
from Products.CMFCore.interfaces import IContentish
from Testing.makerequest import makerequest
from unittest import mock
from zope.component import getGlobalSiteManager
from zope.component.hooks import setSite
from zope.lifecycleevent.interfaces import IObjectRemovedEvent

import io
import threading
import time
import transaction


def total(report):
    """How many objects a report speaks of."""
    return (
        report["done"]
        + report["hidden"]
        + report["skipped_total"]
        + report["failed_total"]
    )


class TestChangeState(TaskTestCase):
    def test_without_selection_it_changes_the_context_alone(self):
        report = self.run_task("transition", transition="publish")
        self.assertEqual((1, 1), (report["done"], total(report)))
        self.assertEqual(["published", "private"], self.states("news", "news/a"))

    def test_inside_means_all_that_is_below_too(self):
        report = self.run_task("transition", transition="publish", inside=True)
        self.assertEqual((6, 6), (report["done"], total(report)))
        self.assertEqual(
            {"published"}, set(self.states("news", "news/a", "news/old/d"))
        )
        self.assertEqual(
            6, len(self.found(review_state="published", path="/plone/news"))
        )

    def test_only_what_is_selected_is_changed(self):
        selection = places([self.news["a"], self.old])
        report = self.run_task(
            "transition", transition="publish", selection=selection, inside=True
        )
        self.assertEqual(3, report["done"])
        self.assertEqual(
            ["private", "published", "private", "published", "published"],
            self.states("news", "news/a", "news/b", "news/old", "news/old/d"),
        )

    def test_what_lies_inside_another_selected_object_is_visited_once(self):
        selection = places([self.old["d"], self.old, self.old])
        report = self.run_task(
            "transition", transition="publish", selection=selection, inside=True
        )
        self.assertEqual((2, 2), (report["done"], total(report)))

    def test_the_comment_is_in_the_history_under_the_users_name(self):
        self.run_task("transition", transition="publish", comment="for the fair")
        workflow = api.portal.get_tool("portal_workflow")
        with api.env.adopt_roles(["Manager"]):
            entry = workflow.getInfoFor(self.news, "review_history")[-1]
        self.assertEqual((EDITOR, "for the fair"), (entry["actor"], entry["comments"]))

    def test_an_object_that_is_published_first_gets_its_date(self):
        self.run_task("transition", transition="publish")
        self.assertNotEqual("None", self.news.EffectiveDate())
        with api.env.adopt_roles(["Manager"]):
            (brain,) = api.content.find(UID=self.news.UID())
        self.assertEqual(self.news.EffectiveDate(), brain.EffectiveDate)

    def test_whoever_may_not_change_an_object_leaves_it_as_it_is(self):
        self.leave_edith_only(self.news["b"], "Reader")
        report = self.run_task("transition", transition="publish", inside=True)
        self.assertEqual([("/news/b", "not-possible")], report["skipped"])
        self.assertEqual((5, 1), (report["done"], report["skipped_total"]))
        self.assertEqual(["private", "published"], self.states("news/b", "news/c"))

    def test_an_object_that_already_is_in_that_state_is_skipped(self):
        with api.env.adopt_user(SITE_OWNER_NAME):
            api.content.transition(self.news["a"], "publish")
        transaction.commit()
        report = self.run_task("transition", transition="publish", inside=True)
        self.assertEqual([("/news/a", "not-possible")], report["skipped"])

    def test_an_object_that_somebody_edits_is_skipped(self):
        self.lock(self.news["a"], SITE_OWNER_NAME)
        report = self.run_task("transition", transition="publish", inside=True)
        self.assertEqual([("/news/a", "locked")], report["skipped"])
        self.assertEqual(5, report["done"])

    def test_an_object_that_the_user_edits_herself_is_changed(self):
        self.lock(self.news["a"], EDITOR)
        report = self.run_task("transition", transition="publish", inside=True)
        self.assertEqual((6, []), (report["done"], report["skipped"]))

    def test_an_object_that_is_gone_by_then_is_skipped(self):
        selection = places([self.news["a"], self.news["b"]])
        job = self.start("transition", transition="publish", selection=selection)
        transaction.commit()
        with api.env.adopt_roles(["Manager"]):
            self.news.manage_delObjects(["a"])
        report = self.run_job(job)
        self.assertEqual(
            (1, [("/news/a", "gone")]), (report["done"], report["skipped"])
        )

    def test_an_object_that_was_moved_meanwhile_is_changed_there(self):
        selection = places([self.news["a"]])
        job = self.start("transition", transition="publish", selection=selection)
        transaction.commit()
        with api.env.adopt_roles(["Manager"]):
            moved = api.content.move(self.news["a"], self.old)
        self.assertEqual(1, self.run_job(job)["done"])
        self.assertEqual("published", api.content.get_state(moved))

    def test_the_path_of_what_the_user_may_not_see_is_not_told(self):
        self.leave_edith_only(self.news["b"])
        job = self.start("transition", transition="publish", inside=True)
        report = self.run_job(job)
        self.assertEqual(
            (5, 1, []), (report["done"], report["hidden"], report["skipped"])
        )
        self.assertNotIn("/news/b", repr(report) + repr(describe(job)))

    def test_a_user_who_lost_her_role_before_it_ran_changes_nothing(self):
        job = self.start("transition", transition="publish", inside=True)
        transaction.commit()
        with api.env.adopt_roles(["Manager"]):
            self.news.manage_delLocalRoles([EDITOR])
            self.news.reindexObjectSecurity()
        report = self.run_job(job)
        self.assertEqual((0, 6), (report["done"], report["hidden"]))
        self.assertEqual({"private"}, set(self.states("news", "news/a")))

    def test_an_object_whose_subscriber_fails_is_left_as_it_was_and_told(self):
        def fail_for_b(event):
            if event.object.getId() == "b":
                event.object.title = "half changed"
                raise RuntimeError("no more paper")

        registry = getGlobalSiteManager()
        registry.registerHandler(fail_for_b, [IActionSucceededEvent])
        self.addCleanup(registry.unregisterHandler, fail_for_b, [IActionSucceededEvent])
        report = self.run_task("transition", transition="publish", inside=True)
        self.assertEqual(
            (5, [("/news/b", "RuntimeError: no more paper")]),
            (report["done"], report["failed"]),
        )
        self.assertEqual(["private", "published"], self.states("news/b", "news/c"))
        self.assertEqual("Page b", self.news["b"].title)
        self.assertEqual(["/news/b"], self.found(review_state="private", getId="b"))

    def raise_for(self, error, *names):
        """Have the transition of each of these objects raise an error, once."""
        left = list(names)

        def fail_once(event):
            if event.object.getId() in left:
                left.remove(event.object.getId())
                raise error

        registry = getGlobalSiteManager()
        registry.registerHandler(fail_once, [IActionSucceededEvent])
        self.addCleanup(registry.unregisterHandler, fail_once, [IActionSucceededEvent])

    def histories(self, *names):
        workflow = api.portal.get_tool("portal_workflow")
        with api.env.adopt_roles(["Manager"]):
            return [
                len(workflow.getInfoFor(self.news[name], "review_history"))
                for name in names
            ]

    def test_what_a_later_error_took_back_is_done_again_and_counts_once(self):
        self.lock(self.news["a"], SITE_OWNER_NAME)
        self.leave_edith_only(self.news["b"])
        self.raise_for(RuntimeError("no more paper"), "old", "old")
        report = self.run_task("transition", transition="publish", inside=True)
        self.assertEqual(
            (
                [("/news/a", "locked")],
                1,
                [("/news/old", "RuntimeError: no more paper")],
            ),
            (report["skipped"], report["hidden"], report["failed"]),
        )
        self.assertEqual((3, 6), (report["done"], total(report)))
        self.assertEqual([1, 1, 2, 1], self.histories("a", "b", "c", "old"))

    def test_an_error_that_does_not_come_up_again_leaves_nothing_out(self):
        self.raise_for(Unauthorized("not now"), "b")
        report = self.run_task("transition", transition="publish", inside=True)
        self.assertEqual((6, 6), (report["done"], total(report)))
        self.assertEqual([2, 2, 2], self.histories("a", "b", "c"))

    def test_an_error_makes_savepoints_in_its_own_transaction_only(self):
        """Its order, and where it commits: news, a | b, c | old, d."""
        self.raise_for(RuntimeError("no more paper"), "b", "b")
        with (
            mock.patch("collective.clockwork.tasks.transition.COMMIT_EVERY", 2),
            mock.patch.object(
                transaction, "savepoint", wraps=transaction.savepoint
            ) as savepoint,
        ):
            report = self.run_task("transition", transition="publish", inside=True)
        self.assertEqual(1 + (1 + 2) + 1, savepoint.call_count)
        self.assertEqual((5, 1), (report["done"], report["failed_total"]))

    def test_the_report_is_bounded_and_says_how_many_there_were(self):
        with mock.patch.object(reporting, "NAMED", 2):
            report = self.run_task("transition", transition="retract", inside=True)
        self.assertEqual((2, 6), (len(report["skipped"]), report["skipped_total"]))

    def test_what_is_committed_counts_once_when_the_rest_is_tried_again(self):
        """The fourth object stops the job once, after a chunk of two was committed."""
        stops = iter([SystemExit("the process ends")])

        def stop_once(event):
            if event.object.getId() == "c":
                for error in stops:
                    raise error

        registry = getGlobalSiteManager()
        registry.registerHandler(stop_once, [IActionSucceededEvent])
        self.addCleanup(registry.unregisterHandler, stop_once, [IActionSucceededEvent])
        with mock.patch("collective.clockwork.tasks.transition.COMMIT_EVERY", 2):
            job = self.start("transition", transition="publish", inside=True)
            drain()
            drain()
        self.assertEqual("completed-status", job.status)
        self.assertEqual((6, 6), (job.result["done"], total(job.result)))
        with api.env.adopt_roles(["Manager"]):
            histories = [
                api.portal.get_tool("portal_workflow").getInfoFor(
                    self.news[name], "review_history"
                )
                for name in "abc"
            ]
        self.assertEqual([2, 2, 2], list(map(len, histories)))

    def test_an_object_that_vanishes_while_the_task_runs_does_not_stop_it(self):
        """Somebody else deletes "c", and commits, while "b" is being changed."""
        deleting = iter([threading.Thread(target=self.delete_elsewhere, args=("c",))])

        def delete_once(event):
            if event.object.getId() == "b":
                for thread in deleting:
                    thread.start()
                    thread.join(20)

        registry = getGlobalSiteManager()
        registry.registerHandler(delete_once, [IActionSucceededEvent])
        self.addCleanup(
            registry.unregisterHandler, delete_once, [IActionSucceededEvent]
        )
        report = self.run_task("transition", transition="publish", inside=True)
        self.assertEqual((5, 5), (report["done"], total(report)))
        self.assertEqual(["a", "b", "old"], sorted(self.news.objectIds()))
        self.assertEqual({"published"}, set(self.states("news/b", "news/old/d")))
        self.assertNotIn("/news/c", self.found(path="/plone/news"))

    def delete_elsewhere(self, name):
        connection = self.layer["zodbDB"].open()
        try:
            app = makerequest(connection.root()["Application"])
            setSite(app.plone)
            with api.env.adopt_user(user=app.acl_users.getUser(SITE_OWNER_NAME)):
                app.plone.news.manage_delObjects([name])
            transaction.commit()
        finally:
            transaction.abort()
            setSite(None)
            connection.close()

    def test_a_cancel_keeps_what_was_committed_and_its_report(self):
        begun = threading.Event()

        def wait_for_cancel(event):
            if event.object.getId() == "b":
                begun.set()
                pause = threading.Event()
                until = time.monotonic() + 20
                while not current().cancel_requested and time.monotonic() < until:
                    pause.wait(0.02)

        registry = getGlobalSiteManager()
        registry.registerHandler(wait_for_cancel, [IActionSucceededEvent])
        self.addCleanup(
            registry.unregisterHandler, wait_for_cancel, [IActionSucceededEvent]
        )
        with mock.patch("collective.clockwork.tasks.transition.COMMIT_EVERY", 1):
            with running_worker(self.layer["zodbDB"]):
                job = self.start("transition", transition="publish", inside=True)
                transaction.commit()
                self.assertTrue(begun.wait(20))
                transaction.begin()
                self.assertEqual("asked", self.service.cancelJob(job.id))
                transaction.commit()
                wait_for_result(job)
        transaction.begin()
        self.assertEqual("cancelled", describe(job).status)
        self.assertEqual(3, reporting.report_of(job)["done"])
        self.assertEqual(
            ["/news", "/news/a", "/news/b"],
            self.found(review_state="published", path="/plone/news"),
        )


class TestQuota(TaskTestCase):
    def test_tasks_have_a_quota_of_their_own_whose_size_may_be_changed(self):
        first = self.start("reindex")
        queue = self.service.getQueues()[""]
        self.assertEqual((1, ("clockwork-tasks",)), (self.size(), first.quota_names))
        queue.quotas["clockwork-tasks"].size = 3
        self.start("reindex")
        self.assertEqual(3, self.size())
        drain()
        self.assertEqual(6, first.result["done"])

    def test_link_checks_have_another_one(self):
        job = self.start("links")
        self.assertEqual(("clockwork-links",), job.quota_names)
        quotas = self.service.getQueues()[""].quotas
        self.assertEqual(1, quotas["clockwork-links"].size)
        self.assertNotIn("clockwork-tasks", quotas)

    def test_each_task_is_known_as_one_by_its_jobs_function(self):
        for task in offer.TASKS.values():
            function = f"{task.func.__module__}.{task.func.__qualname__}"
            self.assertTrue(is_task(function), function)
        self.assertFalse(is_task("collective.clockwork.tests.plone.work.add_numbers"))

    def size(self):
        return self.service.getQueues()[""].quotas["clockwork-tasks"].size


class TestDelete(TaskTestCase):
    def delete(self, *objects):
        return self.run_task("delete", selection=places(objects))

    def test_the_selection_goes_with_all_that_is_inside(self):
        report = self.delete(self.news["a"], self.old)
        self.assertEqual((3, 3), (report["done"], total(report)))
        self.assertEqual(["b", "c"], sorted(self.news.objectIds()))
        self.assertEqual(
            ["/news", "/news/b", "/news/c"], self.found(path="/plone/news")
        )

    def test_the_order_of_a_folder_is_not_written_for_each_object(self):
        with mock.patch.object(
            transaction, "savepoint", wraps=transaction.savepoint
        ) as savepoint:
            self.delete(*self.news.objectValues())
        self.assertEqual(1, savepoint.call_count)
        self.assertEqual([], self.news.objectIds())

    def test_what_was_deleted_before_an_error_is_deleted_nevertheless(self):
        def fail_for_b(obj, event):
            if obj.getId() == "b":
                raise RuntimeError("no more paper")

        registry = getGlobalSiteManager()
        kinds = [IContentish, IObjectRemovedEvent]
        registry.registerHandler(fail_for_b, kinds)
        self.addCleanup(registry.unregisterHandler, fail_for_b, kinds)
        report = self.delete(*self.news.objectValues())
        self.assertEqual(
            (4, [("/news/b", "RuntimeError: no more paper")]),
            (report["done"], report["failed"]),
        )
        self.assertEqual(["b"], self.news.objectIds())
        self.assertEqual(["/news", "/news/b"], self.found(path="/plone/news"))

    def test_a_folder_stays_with_what_the_user_may_not_delete(self):
        self.keep_from_edith(self.old["d"], "Delete objects")
        report = self.delete(self.old, self.news["a"])
        self.assertEqual(
            [("/news/old/d", "unauthorized"), ("/news/old", "not-empty")],
            report["skipped"],
        )
        self.assertEqual(["d"], self.old.objectIds())
        self.assertEqual(["b", "c", "old"], sorted(self.news.objectIds()))

    def test_what_the_user_may_not_see_stays_and_is_not_named(self):
        self.keep_from_edith(self.old["d"], "View")
        report = self.delete(self.old)
        self.assertEqual(
            ([("/news/old", "not-empty")], 1), (report["skipped"], report["hidden"])
        )
        self.assertIn("d", self.old)

    def test_the_permission_is_needed_on_the_folder_too(self):
        self.keep_from_edith(self.news, "Delete objects")
        self.news["a"].manage_permission("Delete objects", ["Editor"], acquire=0)
        report = self.delete(self.news["a"])
        self.assertEqual([("/news/a", "unauthorized")], report["skipped"])

    def test_what_somebody_edits_stays_and_what_the_user_edits_goes(self):
        self.lock(self.news["a"], SITE_OWNER_NAME)
        self.lock(self.news["b"], EDITOR)
        report = self.delete(self.news["a"], self.news["b"])
        self.assertEqual(
            ([("/news/a", "locked")], 1), (report["skipped"], report["done"])
        )
        self.assertEqual(["a", "c", "old"], sorted(self.news.objectIds()))

    def test_the_site_itself_is_refused(self):
        job = self.start("delete", context=self.portal)
        drain()
        self.assertIn("The site itself", describe(job).error)
        self.assertIn("news", self.portal)

    def test_chunks_are_committed_as_it_goes(self):
        with mock.patch("collective.clockwork.tasks.delete.COMMIT_EVERY", 1):
            report = self.delete(self.news["a"], self.news["b"], self.old)
        self.assertEqual((4, ["c"]), (report["done"], self.news.objectIds()))


class TestDocs(TaskTestCase):
    def test_the_examples_of_the_page(self):
        blocks = named_blocks("docs/tasks.rst")
        names = {"folder": self.news}
        exec(compile(blocks["tasks.py"], "tasks.py", "exec"), names)
        drain()
        output = io.StringIO()
        with redirect_stdout(output):
            exec(compile(blocks["report.py"], "report.py", "exec"), names)
        self.assertEqual("2 0 0\n", output.getvalue())
        self.assertEqual(2, offer.look(names["job"].id).report["done"])
