"""The pages from which editors start tasks, and follow them."""

from __future__ import annotations

from collective.clockwork.browser import tasks as pages
from collective.clockwork.interfaces import IClockworkLayer
from collective.clockwork.tasks import offer
from collective.clockwork.testing import drain
from collective.clockwork.testing import running_worker
from collective.clockwork.testing import wait_for_result
from collective.clockwork.tests.plone.taskcase import EDITOR
from collective.clockwork.tests.plone.taskcase import PASSWORD
from collective.clockwork.tests.plone.taskcase import TaskTestCase
from lxml import html
from plone import api
from plone.app.content.interfaces import IStructureAction
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import SITE_OWNER_PASSWORD
from plone.app.testing import TEST_USER_NAME
from plone.app.testing import TEST_USER_PASSWORD
from plone.base.utils import get_installer
from plone.testing.zope import Browser
from Products.CMFCore.indexing import processQueue
from unittest import mock
from urllib.parse import urlencode
from zope.component import getUtilitiesFor
from zope.component import queryMultiAdapter
from zope.interface import noLongerProvides

import json
import transaction


class PagesTestCase(TaskTestCase):
    def setUp(self):
        super().setUp()
        self.url = self.news.absolute_url()
        self.browser = self.browser_of(EDITOR, PASSWORD)

    def browser_of(self, name=None, password=None):
        browser = Browser(self.layer["app"])
        browser.handleErrors = True
        browser.raiseHttpErrors = False
        browser.followRedirects = True
        if name is not None:
            browser.addHeader("Authorization", f"Basic {name}:{password}")
        return browser

    def open(self, view, data=None, browser=None, **query):
        """Open a page of the folder; what it shows, as a tree."""
        browser = browser or self.browser
        address = f"{self.url}/{view}?{urlencode(query)}"
        browser.open(address, None if data is None else urlencode(data))
        return html.fromstring(browser.contents)

    def selection(self, *objects):
        return json.dumps([obj.UID() for obj in objects])

    def token_of(self, page):
        """The authenticator that a page gives its reader's forms and scripts."""
        return page.xpath("//*[@name='_authenticator']/@value | //@data-token")[0]

    def jobs(self):
        transaction.begin()
        return list(self.service.getQueues()[""])

    def text(self, page, path):
        (element,) = page.xpath(path)
        return " ".join(element.text_content().split())


class TestOffer(PagesTestCase):
    def titles(self, page):
        return [link.text_content() for link in page.xpath("//li/a[@class='fw-bold']")]

    def test_an_editor_is_offered_what_she_may_do(self):
        self.assertEqual(
            ["Change state", "Delete", "Check links", "Export", "Index again"],
            self.titles(self.open("@@background-tasks")),
        )

    def test_a_manager_is_offered_the_catalog_on_the_site(self):
        self.url = self.portal.absolute_url()
        manager = self.browser_of(SITE_OWNER_NAME, SITE_OWNER_PASSWORD)
        self.assertEqual(
            [
                "Change state",
                "Check links",
                "Export",
                "Index again",
                "Rebuild the catalog",
            ],
            self.titles(self.open("@@background-tasks", browser=manager)),
        )

    def test_others_are_offered_nothing(self):
        api.content.transition(self.news, "publish")
        transaction.commit()
        member = self.browser_of(TEST_USER_NAME, TEST_USER_PASSWORD)
        self.open("@@background-tasks", browser=member)
        self.assertIn("Insufficient Privileges", member.contents)
        anonymous = self.browser_of()
        for task in offer.TASKS:
            self.open("@@background-task-form", browser=anonymous, task=task)
            self.assertIn("/login?came_from=", anonymous.url)

    def test_the_menu_of_actions_has_an_entry_for_those_who_may_modify(self):
        def entries(browser):
            page = self.open("view", browser=browser)
            links = page.xpath("//a[contains(@href, '@@background-tasks')]/@href")
            return [link.partition("?")[0] for link in links]

        api.content.transition(self.news, "publish")
        transaction.commit()
        self.assertEqual([f"{self.url}/@@background-tasks"], entries(self.browser))
        member = self.browser_of(TEST_USER_NAME, TEST_USER_PASSWORD)
        self.assertEqual([], entries(member))

    def test_an_unknown_task_is_not_found(self):
        for name in ("", "no-such-task"):
            self.open("@@background-task-form", task=name)
            self.assertTrue(self.browser.headers["Status"].startswith("404"))


class TestForm(PagesTestCase):
    def test_it_says_how_many_objects_it_is_about(self):
        page = self.open("@@background-task-form", task="delete")
        self.assertIn(
            "this is 6 objects", self.text(page, "//*[@id='background-task-size']")
        )
        selected = self.selection(self.old, self.news["a"])
        page = self.open(
            "@@background-task-form", {"task": "delete", "selection": selected}
        )
        self.assertIn(
            "this is 3 objects", self.text(page, "//*[@id='background-task-size']")
        )
        self.assertEqual(
            ["Page a", "old"],
            [a.text for a in page.xpath("//*[@id='background-task-objects']//li/a")],
        )
        self.assertEqual([], self.jobs())

    def test_comments_are_not_counted(self):
        self.catalog_comment(self.news["a"])
        page = self.open("@@background-task-form", task="delete")
        self.assertIn(
            "this is 6 objects", self.text(page, "//*[@id='background-task-size']")
        )

    def test_transitions_are_found_behind_many_objects_without_workflow(self):
        with api.env.adopt_roles(["Manager"]):
            images = [
                api.content.create(self.news, "Image", f"i{number:03}")
                for number in range(101)
            ]
            page = api.content.create(self.news, "Document", "page")
        transaction.commit()
        selection = self.selection(*images, page)
        page = self.open(
            "@@background-task-form", {"task": "transition", "selection": selection}
        )
        self.assertIn("publish", page.xpath("//select[@name='transition']/*/@value"))

    def test_too_many_selected_objects_are_told_and_nothing_is_offered(self):
        token = self.token_of(self.open("@@background-task-form", task="delete"))
        data = {"selection": self.selection(self.old, self.news["a"])}
        sent = {**data, "task": "delete", "start": "1", "_authenticator": token}
        with mock.patch.object(pages, "MOST_SELECTED", 1):
            for view, given in (
                ("@@background-tasks", data),
                ("@@background-task-form", {**data, "task": "delete"}),
                ("@@background-task-form", sent),
            ):
                page = self.open(view, given)
                self.assertIn("400", self.browser.headers["Status"])
                self.assertEqual(
                    "2 objects are selected, and 1 are possible at most. "
                    "Please select folders instead.",
                    self.text(page, "//*[@role='alert'][contains(., 'selected')]"),
                )
                self.assertEqual([], page.xpath("//*[@id='background-task-form']"))
                self.assertEqual([], page.xpath("//*[@id='background-tasks']"))
                self.assertNotIn("None of the selected", self.browser.contents)
        self.assertEqual([], self.jobs())

    def test_what_was_entered_is_kept_when_something_is_wrong(self):
        page = self.open("@@background-task-form", task="transition")
        (select,) = page.xpath("//select")
        self.assertNotIn("aria-invalid", select.attrib)
        sent = {
            "task": "transition",
            "start": "1",
            "_authenticator": self.token_of(page),
            "comment": "for the <fair>",
            "inside": "1",
        }
        page = self.open("@@background-task-form", sent)
        self.assertIn("400", self.browser.headers["Status"])
        self.assertEqual("for the <fair>", self.text(page, "//textarea"))
        self.assertEqual(["inside"], page.xpath("//form//input[@checked]/@name"))
        (select,) = page.xpath("//select")
        self.assertEqual("true", select.get("aria-invalid"))
        self.assertIn(
            "Please choose",
            self.text(page, f"//*[@id='{select.get('aria-describedby')}']"),
        )

    def test_whoever_may_not_view_the_parent_is_led_further_up(self):
        self.keep_from_edith(self.news, "View")
        self.url = self.old.absolute_url()
        self.open("@@background-task-form", task="delete")
        self.browser.getControl(name="start").click()
        self.assertTrue(
            self.browser.url.startswith(f"{self.portal.absolute_url()}/@@background")
        )
        self.assertIn("Queued", self.browser.contents)

    def test_a_long_selection_is_named_in_part(self):
        with mock.patch.object(pages, "NAMED", 1):
            page = self.open(
                "@@background-task-form",
                {
                    "task": "delete",
                    "selection": self.selection(self.old, self.news["a"]),
                },
            )
        self.assertIn(
            "and 1 more", self.text(page, "//*[@id='background-task-objects']")
        )

    def test_looking_at_the_forms_starts_nothing(self):
        for task in ("transition", "delete", "links", "export", "reindex"):
            self.open("@@background-task-form", task=task)
            self.assertIn("background-task-form", self.browser.contents)
        self.assertEqual([], self.jobs())

    def test_what_was_chosen_is_done_to_the_selection(self):
        self.open(
            "@@background-task-form",
            {"task": "transition", "selection": self.selection(self.old)},
        )
        form = self.browser.getForm(id="background-task-form")
        form.getControl(name="transition").value = ["publish"]
        form.getControl(name="inside").value = ["1"]
        form.getControl(name="comment").value = "for the fair"
        form.getControl(name="notify").value = ["1"]
        form.getControl(name="start").click()
        self.assertIn("@@background-task?id=", self.browser.url)
        self.assertIn("Queued", self.browser.contents)
        (job,) = self.jobs()
        self.assertEqual((EDITOR, (offer.QUOTA,)), (job.user_id, job.quota_names))
        self.assertEqual(("Change state", "both"), (job.title, job.notify))
        drain()
        self.assertEqual(
            ["private", "private", "published", "published"],
            self.states("news", "news/a", "news/old", "news/old/d"),
        )

    def test_without_a_selection_it_is_done_to_the_object_itself(self):
        self.url = self.old.absolute_url()
        self.open("@@background-task-form", task="delete")
        self.browser.getControl(name="start").click()
        drain()
        self.assertEqual(["a", "b", "c"], sorted(self.news.objectIds()))
        self.assertTrue(self.browser.url.startswith(f"{self.news.absolute_url()}/@@"))
        self.browser.reload()
        self.assertIn("Completed", self.browser.contents)

    def test_each_task_can_be_started(self):
        for task in ("links", "reindex"):
            self.open("@@background-task-form", task=task)
            self.browser.getControl(name="start").click()
        self.url = self.portal.absolute_url()
        manager = self.browser_of(SITE_OWNER_NAME, SITE_OWNER_PASSWORD)
        self.open("@@background-task-form", browser=manager, task="catalog")
        manager.getControl(name="start").click()
        jobs = self.jobs()
        drain()
        self.assertEqual([6, 6], [job.result["done"] for job in jobs[:2]])
        self.assertGreater(jobs[2].result["done"], 6)

    def test_nothing_is_started_without_the_authenticator_or_by_get(self):
        for data in (
            {"task": "delete", "start": "1"},
            {"task": "delete", "start": "1", "_authenticator": "guessed"},
        ):
            self.open("@@background-task-form", data)
            self.assertIn("403", self.browser.headers["Status"])
        self.open("@@background-task-form", task="delete", start="1")
        self.assertEqual([], self.jobs())

    def test_visitors_cannot_start_a_job_about_nothing(self):
        self.url = self.portal.absolute_url()
        anonymous = self.browser_of()
        page = self.open("@@login-help", browser=anonymous)
        token = self.token_of(page)
        data = {"task": "links", "start": "1", "_authenticator": token}
        data["selection"] = '["0123"]'
        self.open("@@background-task-form", data, browser=anonymous)
        self.assertIn("/login?came_from=", anonymous.url)
        self.assertEqual([], self.jobs())

    def test_an_entry_that_the_catalog_kept_of_a_lost_object_is_left_out(self):
        catalog = api.portal.get_tool("portal_catalog")
        lost = self.news["c"]
        selection = self.selection(lost, self.news["a"])
        with api.env.adopt_roles(["Manager"]):
            self.news.manage_delObjects(["c"])
        processQueue()
        catalog.catalog_object(lost, "/plone/news/c")
        transaction.commit()
        data = {"task": "transition", "selection": selection}
        self.open("@@background-task-form", data)
        self.browser.getControl(name="transition").value = ["publish"]
        self.browser.getControl(name="start").click()
        (job,) = self.jobs()
        report = self.run_job(job)
        self.assertEqual(
            (1, [("/news/c", "gone")]), (report["done"], report["skipped"])
        )

    def test_a_transition_that_is_not_offered_is_refused(self):
        page = self.open("@@background-task-form", task="transition")
        token = self.token_of(page)
        data = {"task": "transition", "start": "1", "_authenticator": token}
        page = self.open("@@background-task-form", {**data, "transition": "retract"})
        self.assertIn("400", self.browser.headers["Status"])
        self.assertIn(
            "Please choose",
            self.text(page, "//div[@role='alert'][contains(@class, 'alert-danger')]"),
        )
        self.assertEqual([], self.jobs())

    def test_a_selection_that_is_none_is_refused(self):
        for selection in ("{", '{"a": 1}', "[1]"):
            self.open(
                "@@background-task-form", {"task": "delete", "selection": selection}
            )
            self.assertIn("400", self.browser.headers["Status"])

    def test_selected_objects_that_are_hidden_or_gone_are_left_out(self):
        gone = self.selection(self.news["c"], self.news["b"])
        self.leave_edith_only(self.news["b"])
        api.content.delete(self.news["c"])
        transaction.commit()
        page = self.open(
            "@@background-task-form", {"task": "delete", "selection": gone}
        )
        self.assertIn(
            "None of the selected",
            self.text(page, "//*[@id='background-task-objects']"),
        )
        self.assertEqual([], page.xpath("//*[@id='background-task-form']"))


class TestProgress(PagesTestCase):
    def start_and_commit(self, name, **arguments):
        job = self.start(name, **arguments)
        transaction.commit()
        return job

    def refreshes(self, page):
        return page.xpath("//meta[@http-equiv='refresh']/@content")

    def test_it_refreshes_itself_until_the_end(self):
        job = self.start_and_commit("transition", transition="publish", inside=True)
        page = self.open("@@background-task", id=job.id)
        self.assertEqual(["4"], self.refreshes(page))
        self.assertEqual("no-store", self.browser.headers["Cache-Control"])
        self.assertIn("Queued", self.text(page, "//*[@id='background-task-status']"))
        with running_worker(self.layer["zodbDB"]):
            wait_for_result(job)
        page = self.open("@@background-task", id=job.id)
        self.assertEqual([], self.refreshes(page))
        self.assertIn("Completed", self.text(page, "//*[@id='background-task-status']"))
        self.assertIn("Done 6", self.text(page, "//*[@id='background-task-counts']"))

    def test_whoever_reads_it_can_stop_the_refreshing(self):
        job = self.start_and_commit("links")
        self.open("@@background-task", id=job.id)
        self.browser.getLink("Stop refreshing").click()
        page = html.fromstring(self.browser.contents)
        self.assertEqual([], self.refreshes(page))
        self.browser.getLink("Refresh this page").click()
        page = html.fromstring(self.browser.contents)
        self.assertEqual(["4"], self.refreshes(page))

    def test_it_tells_what_was_skipped_and_why(self):
        self.lock(self.news["a"], SITE_OWNER_NAME)
        job = self.start_and_commit("transition", transition="publish", inside=True)
        drain()
        page = self.open("@@background-task", id=job.id)
        self.assertEqual(
            "Skipped /news/a Somebody is working on it.",
            self.text(page, "//*[@id='background-task-skipped']"),
        )
        (address,) = page.xpath("//*[@id='background-task-skipped']//a/@href")
        self.assertEqual(self.news["a"].absolute_url(), address)

    def test_broken_links_are_told_as_text(self):
        attack = "lost&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"
        self.write(self.news["a"], f'<a href="{attack}">x</a>')
        job = self.start_and_commit("links")
        drain()
        page = self.open("@@background-task", id=job.id)
        self.assertEqual(
            'Broken links /news/a: lost"><script>alert(1)</script> '
            "There is nothing at this address.",
            self.text(page, "//*[@id='background-task-broken']"),
        )
        self.assertNotIn("<script>alert", self.browser.contents)

    def test_a_task_that_waits_can_be_stopped(self):
        job = self.start_and_commit("delete")
        self.open("@@background-task", id=job.id)
        self.browser.getControl(name="cancel").click()
        self.assertIn("Cancelled", self.browser.contents)
        drain()
        self.assertIn("news", self.portal)

    def test_stopping_needs_the_authenticator(self):
        job = self.start_and_commit("links")
        self.open("@@background-task", {"id": job.id, "cancel": "1"})
        self.assertIn("403", self.browser.headers["Status"])
        drain()
        self.assertEqual("completed-status", job.status)

    def test_others_see_nothing_of_it_but_those_who_manage_jobs(self):
        job = self.start_and_commit("links")
        other = self.browser_of(TEST_USER_NAME, TEST_USER_PASSWORD)
        manager = self.browser_of(SITE_OWNER_NAME, SITE_OWNER_PASSWORD)
        self.url = self.portal.absolute_url()
        for browser in (other, self.browser_of()):
            self.open("@@background-task", browser=browser, id=job.id)
            self.assertTrue(browser.headers["Status"].startswith("404"))
            self.assertNotIn("Check links", browser.contents)
        self.open("@@background-task", browser=manager, id=job.id)
        self.assertIn("Check links", manager.contents)

    def test_what_is_no_task_is_not_found(self):
        for id in ("", "x", "99999999", "1" * 40):
            self.open("@@background-task", id=id)
            self.assertTrue(self.browser.headers["Status"].startswith("404"))


class TestButton(PagesTestCase):
    def test_folder_contents_have_the_button_while_the_add_on_is_installed(self):
        names = [name for name, _action in getUtilitiesFor(IStructureAction)]
        self.assertIn("background", names)
        page = self.open("folder_contents")
        (options,) = page.xpath("//@data-pat-structure")
        buttons = {button["id"]: button for button in json.loads(options)["buttons"]}
        self.assertEqual(f"{self.url}/@@fc-background", buttons["background"]["url"])

        self.login_as_site_owner()
        get_installer(self.portal).uninstall_product("collective.clockwork")
        names = [name for name, _action in getUtilitiesFor(IStructureAction)]
        self.assertNotIn("background", names)
        self.assertNotIn("background-tasks", self.portal.portal_actions.object_buttons)

    def test_it_lists_the_tasks_with_what_is_selected(self):
        selected = self.selection(self.news["a"])
        data = {"render": "yes", "selection": selected}
        self.browser.open(f"{self.url}/@@fc-background", urlencode(data))
        answer = html.fromstring(json.loads(self.browser.contents)["html"])
        self.assertEqual([selected], answer.xpath("//input/@value"))
        self.assertEqual(
            ["transition", "delete", "links", "export", "reindex"],
            answer.xpath("//button/@value"),
        )

    def test_it_says_when_too_much_is_selected_instead_of_the_tasks(self):
        selected = self.selection(self.news["a"], self.news["b"])
        with mock.patch.object(pages, "MOST_SELECTED", 1):
            self.browser.open(
                f"{self.url}/@@fc-background", urlencode({"selection": selected})
            )
        self.assertIn("200", self.browser.headers["Status"])
        answer = html.fromstring(json.loads(self.browser.contents)["html"])
        self.assertIn("2 objects are selected", self.text(answer, "//*[@role='alert']"))
        self.assertEqual([], answer.xpath("//button | //input"))
        self.assertNotIn("no task", self.browser.contents)

    def test_the_pages_are_there_only_where_the_add_on_is_installed(self):
        request = self.layer["request"].clone()
        noLongerProvides(request, IClockworkLayer)
        for name in ("background-tasks", "background-task-form", "background-task"):
            self.assertIsNone(queryMultiAdapter((self.news, request), name=name))
