"""The pages of schedules, in a browser: the list, one of them, and what they do."""

from __future__ import annotations

from collective.clockwork.testing import drain
from collective.clockwork.testing import running_worker
from collective.clockwork.tests.plone import schedulepages
from collective.clockwork.tests.plone.browsercase import text
from collective.clockwork.tests.plone.schedulepages import add
from collective.clockwork.tests.plone.schedulepages import FAIL
from collective.clockwork.tests.plone.schedulepages import FORM
from collective.clockwork.tests.plone.schedulepages import get
from collective.clockwork.tests.plone.schedulepages import LIST
from collective.clockwork.tests.plone.schedulepages import ONE
from collective.clockwork.tests.plone.schedulepages import PAGES
from collective.clockwork.tests.plone.schedulepages import PASSWORD
from collective.clockwork.tests.plone.schedulepages import SchedulesTestCase
from collective.clockwork.tests.plone.schedulepages import SCRIPT
from collective.clockwork.tests.plone.schedulepages import TICKS
from datetime import datetime
from datetime import timedelta
from plone import api
from plone.app.testing import setRoles
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import TEST_USER_ID
from urllib.parse import quote
from urllib.parse import urlencode

import time
import transaction


class TestTheList(SchedulesTestCase):
    def test_the_pages_of_the_control_panel_lead_to_each_other(self):
        for link, view in (
            ("Schedules", LIST),
            ("Ticks", TICKS),
            ("Queues and quotas", "@@background-queues"),
            ("All background jobs", "@@background-jobs"),
        ):
            self.browser.getLink(link).click()
            self.assertTrue(self.browser.url.endswith(view), link)
            (here,) = self.page().xpath('//nav//a[@aria-current="page"]/@href')
            self.assertEqual(self.browser.url, here)

    def test_its_title_is_the_browsers_title(self):
        self.assertIn("Schedules —", text(self.open(LIST), "//head/title"))

    def test_without_schedules_it_says_what_they_are(self):
        page = self.open(LIST)
        self.assertIn("There are no schedules yet", page.text_content())
        self.browser.getLink("Add a schedule").click()
        self.assertIn(FORM, self.browser.url)

    def test_a_schedule_is_shown_with_what_when_and_who(self):
        api.portal.set_registry_record("plone.portal_timezone", "Europe/Berlin")
        add("nightly", title="Nightly notes", timezone="Europe/Berlin")
        add("news", FAIL, every=timedelta(minutes=15))
        page = self.open(LIST)
        what, when, user, next_run, last_run = self.cells(page, "Nightly notes")
        self.assertEqual("Nightly notes Note a word nightly", what)
        self.assertEqual("Every day at 02:30 30 2 * * *", when)
        self.assertEqual(SITE_OWNER_NAME, user)
        self.assertTrue(next_run.endswith("02:30:00"), next_run)
        self.assertEqual("None yet", last_run)
        self.assertEqual("Every 15 minutes", self.cells(page, "news")[1])

    def test_a_time_zone_that_is_not_the_viewers_is_named(self):
        api.portal.set_registry_record("plone.portal_timezone", "Europe/Berlin")
        add("nightly", timezone="America/New_York")
        when = self.cells(self.open(LIST), "nightly")[1]
        self.assertTrue(when.endswith("America/New_York"), when)

    def test_the_last_run_is_shown_with_its_status(self):
        add("news", FAIL)
        self.scheduler.run_now("news")
        transaction.commit()
        drain()
        last_run = self.cells(self.open(LIST), "news")[4]
        self.assertTrue(last_run.startswith("Failed "), last_run)

    def test_why_one_cannot_fire_is_told(self):
        api.user.create(email="eve@example.org", username="eve", password=PASSWORD)
        add("nightly", user="eve")
        api.user.delete("eve")
        transaction.commit()
        self.assertIn("no user eve", self.cells(self.open(LIST), "nightly")[0])

    def test_that_no_worker_is_alive_is_told(self):
        self.assertIn("No worker is running", self.open(LIST).text_content())
        deadline = time.monotonic() + 30
        with running_worker(self.layer["zodbDB"]):
            while "No worker is running" in self.open(LIST).text_content():
                self.assertLess(time.monotonic(), deadline)

    def test_looking_writes_nothing_and_is_not_cached(self):
        add("nightly")
        database = self.portal._p_jar.db()
        before = database.lastTransaction()
        for view in (LIST, f"{ONE}?name=nightly", FORM, f"{FORM}?name=nightly", TICKS):
            with self.subTest(view=view):
                self.open(view)
                self.assertEqual("200", self.status())
                self.assertEqual("no-store", self.browser.headers["Cache-Control"])
                self.assertEqual(before, database.lastTransaction())

    def test_no_id_occurs_twice(self):
        add("nightly")
        add("news", FAIL)
        for view in (LIST, f"{ONE}?name=nightly", FORM, TICKS):
            ids = self.open(view).xpath("//@id")
            self.assertEqual(sorted(set(ids)), sorted(ids), view)


class TestButtons(SchedulesTestCase):
    def setUp(self):
        super().setUp()
        add("nightly", title="Nightly notes")
        add("news", FAIL)

    def names(self):
        transaction.begin()
        return [schedule.name for schedule in self.scheduler.list()]

    def test_the_schedules_of_the_site_are_switched_off_and_on(self):
        self.press("disable")
        transaction.begin()
        self.assertFalse(self.scheduler.is_enabled())
        self.assertIn("fire no more", self.told())
        self.assertIn("None fires while this is off", self.browser.contents)
        self.assertEqual("None", self.cells(self.page(), "news")[3])
        self.click("enable")
        transaction.begin()
        self.assertTrue(self.scheduler.is_enabled())

    def test_one_is_switched_off_and_on(self):
        self.press("deactivate", "nightly")
        self.assertFalse(get("nightly").active)
        self.assertTrue(get("news").active)
        self.assertIn("Nightly notes fires no more.", self.told())
        (switch,) = self.row(self.page(), "Nightly notes").xpath(
            './/button[@role="switch"]'
        )
        self.assertEqual("false", switch.get("aria-checked"))
        self.click("activate", "nightly")
        self.assertTrue(get("nightly").active)

    def test_one_is_run_now(self):
        for view in (LIST, f"{ONE}?name=nightly"):
            with self.subTest(view=view):
                self.press("run", "nightly", view)
                self.assertIn("Nightly notes was queued", self.told())
                self.assertIn(view, self.browser.url)
        drain()
        firings = self.scheduler.firings("nightly")
        self.assertEqual(["completed", "completed"], [each.status for each in firings])
        self.assertEqual(SITE_OWNER_NAME, firings[0].by)

    def test_one_that_cannot_be_run_says_why(self):
        api.user.create(email="eve@example.org", username="eve", password=PASSWORD)
        self.scheduler.change("nightly", user="eve")
        api.user.delete("eve")
        transaction.commit()
        self.press("run", "nightly")
        self.assertIn("eve", self.told())
        self.assertEqual([], self.scheduler.firings("nightly"))

    def test_removing_asks_first(self):
        for view in (LIST, f"{ONE}?name=nightly"):
            self.press("remove", "nightly", view)
            self.assertIn("Remove schedules?", self.browser.contents)
            self.assertIn("Nightly notes", self.browser.contents)
            self.browser.getLink("Cancel").click()
            self.assertIn(view, self.browser.url)
            self.assertEqual(["news", "nightly"], self.names())

    def test_one_is_removed(self):
        self.press("remove", "nightly")
        self.click("removal")
        self.assertEqual(["news"], self.names())
        self.assertIn("Nightly notes was removed.", self.told())

    def test_several_are_removed_at_once(self):
        add("third")
        self.open(LIST)
        boxes = self.browser.getControl(name="selected:list")
        boxes.value = ["nightly", "news"]
        self.click("remove-selected")
        self.assertEqual(["news", "nightly", "third"], self.names())
        self.click("removal")
        self.assertEqual(["third"], self.names())

    def test_removing_none_of_them_says_what_is_missing(self):
        self.press("remove-selected")
        self.assertIn("Please select", self.told())

    def test_one_that_somebody_has_removed_meanwhile_is_told(self):
        for button in ("run", "deactivate", "remove"):
            with self.subTest(button=button):
                add("gone")
                self.open(LIST)
                self.scheduler.remove("gone")
                transaction.commit()
                self.click(button, "gone")
                self.assertEqual("200", self.status())
                self.assertNotIn("gone", self.names())

    def test_one_that_zcml_declares_is_not_removed(self):
        schedulepages.declare(self, "declared")
        self.press("remove", "declared")
        self.assertIn("It comes from ZCML", self.browser.contents)
        self.click("removal")
        self.assertIn("deactivate it instead", self.told())
        self.assertIn("declared", self.names())

    def test_nothing_is_done_without_the_authenticator_or_by_a_get(self):
        for form in (
            {"disable": "1"},
            {"deactivate": "nightly"},
            {"run": "nightly"},
            {"forget": "nightly"},
            {"removal": "1", "name:list": "nightly"},
        ):
            before = self.layer["zodbDB"].lastTransaction()
            for sent in (form, {**form, "_authenticator": "guessed"}):
                with self.subTest(form=sent):
                    self.post(**sent)
                    self.assertEqual("403", self.status())
                    self.browser.open(
                        f"{self.portal.absolute_url()}/{LIST}?{urlencode(sent)}"
                    )
                    self.assertEqual(before, self.layer["zodbDB"].lastTransaction())

    def test_names_that_are_none_break_nothing(self):
        token = self.token()
        for form in (
            {"run": "nobody"},
            {"run": ""},
            {"remove": "nobody"},
            {"selected:record": "x", "remove-selected": "1"},
            {"removal": "1"},
        ):
            with self.subTest(form=form):
                self.post(_authenticator=token, **form)
                self.assertEqual("200", self.status())
                self.assertEqual(["news", "nightly"], self.names())


class TestOneSchedule(SchedulesTestCase):
    def facts(self, page):
        terms = page.xpath('//dl[@class="schedules-facts"]/dt')
        return {
            term.text_content(): " ".join(term.getnext().text_content().split())
            for term in terms
        }

    def test_it_shows_what_the_schedule_says(self):
        add(
            "nightly",
            title="Nightly notes",
            timezone="Europe/Berlin",
            overlap="queue",
            missed="all",
            grace=timedelta(hours=2),
            jitter=timedelta(seconds=90),
            keep=7,
        )
        page = self.open(f"{ONE}?name=nightly")
        self.assertEqual("Nightly notes", text(page, "//article/h1"))
        self.assertIn("Nightly notes — Schedules", text(page, "//head/title"))
        facts = self.facts(page)
        for term, said in {
            "Name": "nightly",
            "Active": "Yes",
            "Function": f"Note a word {schedulepages.NOTE}",
            "User": SITE_OWNER_NAME,
            "When": "Every day at 02:30 30 2 * * *",
            "Time zone": "Europe/Berlin",
            "Context": "/",
            "Arguments": '{ "word": "nightly" }',
            "Quota": "default",
            "Grace time": "2 hours",
            "If the last one still runs": "Wait until that one has ended",
            "Missed firings": "Run each of them",
            "Spread over": "90 seconds",
            "Remembered firings": "7",
        }.items():
            self.assertEqual(said, facts[term], term)

    def ahead(self, page):
        return page.xpath('//ol[@class="schedules-ahead"]/li/time/@datetime')

    def test_it_shows_the_next_five_firings(self):
        for name, fields in {
            "cron": {"cron": "30 2 * * *", "timezone": "Europe/Berlin"},
            "every": {"every": timedelta(days=1)},
        }.items():
            info = add(name, **fields)
            ahead = self.ahead(self.open(f"{ONE}?name={name}"))
            self.assertEqual(5, len(ahead))
            self.assertEqual(info.next.isoformat(), ahead[0])
            distance = datetime.fromisoformat(ahead[4]) - info.next
            # It may be an hour more or less: the clocks may be changed in between.
            self.assertEqual(4, round(distance / timedelta(days=1)))

    def test_one_that_does_not_fire_has_none(self):
        add("nightly", active=False)
        page = self.open(f"{ONE}?name=nightly")
        self.assertEqual([], self.ahead(page))
        self.assertEqual("No", self.facts(page)["Active"])

    def test_it_shows_what_came_of_its_firings_newest_first(self):
        add("news", FAIL, arguments={"text": "no news today"})
        self.scheduler.run_now("news")
        transaction.commit()
        drain()
        self.scheduler.run_now("news")
        transaction.commit()
        page = self.open(f"{ONE}?name=news")
        queued, failed = page.xpath("//tbody/tr")
        self.assertIn("Queued", queued.text_content())
        self.assertIn("Failed", failed.text_content())
        self.assertIn("no news today", failed.text_content())
        self.assertIn(SITE_OWNER_NAME, failed.text_content())
        (traceback,) = failed.xpath(".//details/pre")
        self.assertIn("Traceback", traceback.text)
        self.browser.getLink("Job", index=1).click()
        self.assertIn("@@background-job?id=", self.browser.url)
        self.assertIn("no news today", self.browser.contents)

    def test_the_firings_that_are_over_are_forgotten(self):
        add("news", FAIL)
        self.scheduler.run_now("news")
        transaction.commit()
        drain()
        self.scheduler.run_now("news")
        transaction.commit()
        self.press("forget", "news", f"{ONE}?name=news")
        transaction.begin()
        firings = self.scheduler.firings("news")
        self.assertEqual(["queued"], [each.status for each in firings])
        self.assertIn("were forgotten", self.told())
        self.assertNotIn('name="forget"', self.browser.contents)

    def test_it_is_switched_off_there(self):
        add("nightly")
        self.press("deactivate", "nightly", f"{ONE}?name=nightly")
        self.assertFalse(get("nightly").active)
        self.assertIn(f"{ONE}?name=nightly", self.browser.url)

    def test_that_the_site_is_switched_off_is_told(self):
        add("nightly")
        self.scheduler.disable()
        transaction.commit()
        page = self.open(f"{ONE}?name=nightly")
        self.assertIn("are switched off", page.text_content())

    def test_one_that_is_not_there_is_not_found(self):
        for query in ("?name=nobody", "", "?name:list=a&name:list=b", "?name="):
            page = self.open(f"{ONE}{query}")
            self.assertEqual("404", self.status())
            self.assertIn("No such schedule", page.text_content())


class TestTexts(SchedulesTestCase):
    def test_whatever_a_schedule_says_of_itself_is_text(self):
        add(SCRIPT, FAIL, title=SCRIPT, arguments={"text": SCRIPT})
        self.scheduler.run_now(SCRIPT)
        transaction.commit()
        drain()
        name = quote(SCRIPT, safe="")
        for view, marks in (
            (LIST, 2),
            (f"{ONE}?name={name}", 5),
            (f"{FORM}?name={name}", 1),
        ):
            page = self.open(view)
            self.assertEqual("200", self.status())
            self.assertNotIn("<script>window.attacked", self.browser.contents)
            shown = page.text_content() + "".join(page.xpath("//@value"))
            self.assertGreaterEqual(shown.count("window.attacked"), marks, view)
        self.press("remove", SCRIPT)
        self.assertNotIn("<script>window.attacked", self.browser.contents)

    def test_names_are_quoted_in_addresses(self):
        odd = "ä & b?c=d#e/f%20+g"
        add(odd)
        page = self.open(LIST)
        self.assertEqual([odd], page.xpath("//th/a/text()"))
        self.browser.getLink(odd).click()
        self.assertEqual("200", self.status())
        self.assertEqual(odd, text(self.page(), "//article/h1"))
        self.browser.getLink(url=FORM).click()
        self.assertIn("30 2 * * *", self.browser.contents)
        self.press("deactivate", odd)
        self.assertFalse(get(odd).active)

    def test_they_speak_german(self):
        add("nightly")
        add("weekly", cron="0 8 * * mon-fri")
        api.portal.set_registry_record("plone.available_languages", ["en", "de"])
        api.portal.set_registry_record("plone.use_request_negotiation", True)
        transaction.commit()
        self.browser.addHeader("Accept-Language", "de")
        page = self.open(LIST)
        self.assertEqual("Zeitpläne", text(page, "//main//h1"))
        self.assertIn("Jeden Tag um 02:30", self.cells(page, "nightly")[1])
        self.assertIn("Montag bis Freitag um 08:00", self.cells(page, "weekly")[1])
        for view, words in (
            (f"{ONE}?name=nightly", ("Nächste Ausführungen", "Jetzt ausführen")),
            (FORM, ("Zeitplan hinzufügen", "Speichern", "Alle 15 Minuten")),
            (TICKS, ("Letzter Tick", "Zeitpläne senden die Ticks")),
        ):
            main = text(self.open(view), "//main")
            for said in words:
                self.assertIn(said, main)


class TestWhoMay(SchedulesTestCase):
    def setUp(self):
        super().setUp()
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        for role in ("Editor", "Site Administrator"):
            api.user.create(
                email="somebody@example.org",
                username=role.replace(" ", ""),
                password=PASSWORD,
                roles=("Member", role),
            )
        add("nightly")

    def test_an_editor_and_an_anonymous_visitor_may_not(self):
        before = get("nightly")
        for credentials in (("Editor", PASSWORD), ()):
            browser = self.browser_of(*credentials)
            for view in PAGES:
                with self.subTest(credentials=credentials, view=view):
                    self.post(view, browser, run="nightly", save="1", name="nightly")
                    self.assertNotIn("30 2 * * *", browser.contents)
                    self.assertEqual(before, get("nightly"))

    def test_a_site_administrator_may(self):
        browser = self.browser_of("SiteAdministrator", PASSWORD)
        for view in PAGES:
            browser.open(f"{self.portal.absolute_url()}/{view}?name=nightly")
            self.assertEqual("200", self.status(browser), view)
