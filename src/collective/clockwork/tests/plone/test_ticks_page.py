"""The page of ticks, in a browser."""

from __future__ import annotations

from collective.clockwork.schedules import ticking
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone.schedulepages import add
from collective.clockwork.tests.plone.schedulepages import FAIL
from collective.clockwork.tests.plone.schedulepages import get
from collective.clockwork.tests.plone.schedulepages import PASSWORD
from collective.clockwork.tests.plone.schedulepages import SchedulesTestCase
from collective.clockwork.tests.plone.schedulepages import TICKS
from collective.clockwork.ticks import INTERVAL_RECORD
from collective.clockwork.ticks import tick_interval
from collective.clockwork.ticks import TickTriggerView
from datetime import timedelta
from plone import api
from plone.app.testing import SITE_OWNER_NAME
from urllib.parse import urlencode

import transaction


class TicksTestCase(SchedulesTestCase):
    def setUp(self):
        super().setUp()
        self.open(TICKS)

    def interval(self):
        transaction.begin()
        return tick_interval(self.portal)

    def is_enabled(self):
        transaction.begin()
        return ticking.is_enabled()

    def enter(self, interval=None, unit=None, scheduled=None, user=None):
        control = self.browser.getControl
        if interval is not None:
            control(name="interval").value = interval
        if unit is not None:
            control(name="interval-unit").value = [unit]
        if scheduled is not None:
            control(name="scheduled").value = ["1"] if scheduled else []
        if user is not None:
            control(name="user").value = user
        control("Save").click()

    def facts(self):
        terms = self.page().xpath('//dl[@id="ticks-facts"]/dt')
        return {
            term.text: " ".join(term.getnext().text_content().split()) for term in terms
        }

    def errors(self):
        page = self.page()
        return {
            field.get("name"): page.xpath(
                f'//*[@id="{field.get("aria-describedby").split()[0]}"]'
            )[0].text_content()
            for field in page.xpath('//input[@aria-invalid="true"]')
        }


class TestTheInterval(TicksTestCase):
    def test_it_is_shown_and_changed(self):
        self.assertEqual("5", self.browser.getControl(name="interval").value)
        self.assertEqual(
            ["minutes"], self.browser.getControl(name="interval-unit").value
        )
        self.enter("2", "hours")
        self.assertEqual(7200, self.interval())
        self.assertIn("Changes saved.", self.told())
        self.assertFalse(self.is_enabled())

    def test_with_0_each_call_counts(self):
        self.enter("0", "seconds")
        self.assertEqual(0, self.interval())

    def test_what_is_none_is_told_and_kept_in_its_field(self):
        for wrong, sentence in (
            ("often", "whole number"),
            ("", "whole number"),
            ("-1", "whole number"),
            ("1.5", "whole number"),
            ("99999999", "366 days at most"),
        ):
            with self.subTest(wrong=wrong):
                self.open(TICKS)
                self.enter(wrong, "hours", scheduled=True)
                self.assertIn(sentence, self.errors()["interval"])
                self.assertEqual(wrong, self.browser.getControl(name="interval").value)
                self.assertEqual(["1"], self.browser.getControl(name="scheduled").value)
                self.assertEqual(300, self.interval())
                self.assertFalse(self.is_enabled())


class TestTheSchedules(TicksTestCase):
    def test_they_are_switched_on_and_off(self):
        self.assertNotIn("Schedules of ticks", self.browser.contents)
        self.enter(scheduled=True)
        self.assertTrue(self.is_enabled())
        self.assertEqual(SITE_OWNER_NAME, get("tick").user)
        rows = self.page().xpath("//tbody/tr")
        self.assertEqual(6, len(rows))
        self.assertIn("Every 5 minutes", rows[0].text_content())
        self.enter(scheduled=False)
        self.assertFalse(self.is_enabled())
        self.assertFalse(any(get(name).active for name in ticking.FUNCTIONS))

    def test_they_follow_the_interval(self):
        self.enter(scheduled=True)
        self.enter("20", "minutes")
        self.assertEqual(timedelta(minutes=20), get("tick").every)

    def test_they_run_as_the_chosen_user(self):
        for name in ("eve", "adam"):
            api.user.create(email="who@example.org", username=name, password=PASSWORD)
        transaction.commit()
        self.enter(scheduled=True, user="eve")
        self.assertEqual("eve", get("tick_daily").user)
        self.enter(user="adam")
        users = {get(name).user for name in ticking.FUNCTIONS}
        self.assertEqual({"adam"}, users)
        self.assertEqual("adam", self.browser.getControl(name="user").value)

    def test_a_user_who_cannot_be_is_told_and_nothing_is_changed(self):
        for user, sentence in (("nobody", "no such user"), ("", "Please fill in")):
            with self.subTest(user=user):
                self.open(TICKS)
                self.enter("2", "hours", scheduled=True, user=user)
                self.assertIn(sentence, self.errors()["user"])
                self.assertEqual(300, self.interval())
                self.assertIsNone(get("tick"))

    def test_a_schedule_that_has_one_of_their_names_is_told(self):
        add("tick_weekly", FAIL)
        self.enter("2", "hours", scheduled=True)
        self.assertIn(
            "tick_weekly", self.page().xpath('//*[@role="alert"]')[0].text_content()
        )
        self.assertIsNone(get("tick"))
        self.assertEqual(300, self.interval())

    def test_that_none_can_come_is_told(self):
        self.enter(scheduled=True)
        self.assertIn("no ticks come until one starts", self.browser.contents)
        self.scheduler.disable()
        transaction.commit()
        self.open(TICKS)
        self.assertIn("are switched off, so no ticks come", self.browser.contents)


class TestTheMoments(TicksTestCase):
    def test_without_a_tick_the_first_call_sends_one(self):
        facts = self.facts()
        self.assertEqual("None yet", facts["Last tick"])
        self.assertEqual("With the first call", facts["Next tick"])

    def test_the_last_and_the_next_one_are_told(self):
        api.portal.set_registry_record(INTERVAL_RECORD, 3600)
        TickTriggerView(self.portal, self.layer["request"]).setLastTick(
            "2026/03/04 12:00:00 UTC"
        )
        transaction.commit()
        self.open(TICKS)
        facts = self.facts()
        self.assertEqual("Mar 04, 2026 12:00:00", facts["Last tick"])
        self.assertEqual(
            "With the first call after Mar 04, 2026 13:00:00", facts["Next tick"]
        )

    def test_with_the_schedules_the_next_one_is_theirs(self):
        self.enter(scheduled=True)
        (shown,) = self.page().xpath('//dl[@id="ticks-facts"]//time/@datetime')
        self.assertEqual(get("tick").next.isoformat(), shown)

    def test_a_tick_that_is_run_now_is_the_last_one(self):
        self.enter(scheduled=True)
        self.press("run", "tick", "@@background-schedule?name=tick")
        drain()
        self.open(TICKS)
        self.assertNotEqual("None yet", self.facts()["Last tick"])


class TestForgedRequests(TicksTestCase):
    def test_it_needs_the_authenticator(self):
        form = {"interval": "9", "interval-unit": "hours", "scheduled": "1"}
        form |= {"user": SITE_OWNER_NAME, "save": "1"}
        for sent in (form, {**form, "_authenticator": "guessed"}):
            self.post(TICKS, **sent)
            self.assertEqual("403", self.status())
            self.browser.open(f"{self.portal.absolute_url()}/{TICKS}?{urlencode(sent)}")
            self.assertEqual(300, self.interval())
            self.assertFalse(self.is_enabled())

    def test_what_is_no_text_breaks_nothing(self):
        token = self.browser.getControl(name="_authenticator").value
        url = f"{self.portal.absolute_url()}/{TICKS}"
        self.browser.post(url, f"_authenticator={token}&save=1&interval:list=1")
        self.assertEqual("200", self.status())
        self.assertEqual(300, self.interval())
