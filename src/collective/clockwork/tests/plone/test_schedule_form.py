"""The form of a schedule, in a browser: what is entered, checked, shown and kept."""

from __future__ import annotations

from collective.clockwork import quotas
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.schedulepages import add
from collective.clockwork.tests.plone.schedulepages import FAIL
from collective.clockwork.tests.plone.schedulepages import FORM
from collective.clockwork.tests.plone.schedulepages import get
from collective.clockwork.tests.plone.schedulepages import NOTE
from collective.clockwork.tests.plone.schedulepages import PASSWORD
from collective.clockwork.tests.plone.schedulepages import PREVIEW
from collective.clockwork.tests.plone.schedulepages import SchedulesTestCase
from datetime import timedelta
from plone import api
from plone.app.testing import SITE_OWNER_NAME
from urllib.parse import urlencode

import json
import transaction


ERRORS = '//form[@id="schedule-form"]//*[contains(@class, "invalid-feedback")]'
AHEAD = '//*[@id="schedule-ahead"]'


class FormTestCase(SchedulesTestCase):
    def enter(self, **fields):
        """Fill in fields, by their names with "_" for "-"."""
        for name, value in fields.items():
            control = self.browser.getControl(name=name.replace("_", "-"))
            control.value = [value] if control.type in ("select", "radio") else value

    def save(self):
        self.browser.getControl(name="save", index=1).click()

    def show(self):
        self.browser.getControl("Show next firings").click()

    def errors(self):
        """What is wrong, by the id of the field that it is told of."""
        page = self.page()
        found = {}
        for message in page.xpath(ERRORS):
            (field, *_more) = page.xpath(
                f'//*[@aria-invalid="true"]'
                f'[contains(@aria-describedby, "{message.get("id")}")]'
            )
            text = " ".join(message.text_content().split())
            found[field.get("id").removeprefix("schedule-")] = text
        return found

    def ahead(self):
        return self.page().xpath(f"{AHEAD}//time/@datetime")

    def edit(self, name):
        return self.open(f"{FORM}?name={name}")

    def value(self, name):
        return self.browser.getControl(name=name).value


class TestAdding(FormTestCase):
    def fill_in(self, **fields):
        self.open(FORM)
        given = {"name": "nightly", "function": NOTE, "arguments": '{"word": "yes"}'}
        self.enter(**{**given, **fields})

    def test_one_is_added_with_what_holds_for_most(self):
        self.fill_in()
        self.save()
        info = get("nightly")
        self.assertEqual(NOTE, info.function)
        self.assertEqual("30 2 * * *", info.cron)
        self.assertEqual(SITE_OWNER_NAME, info.user)
        self.assertEqual({"word": "yes"}, info.arguments)
        self.assertEqual("nightly", info.title)
        self.assertTrue(info.active)
        self.assertIn("The schedule was added.", self.told())
        self.assertIn("@@background-schedule?name=nightly", self.browser.url)

    def test_all_fields_are_taken_over(self):
        quotas.create("", "imports", 2)
        api.content.create(self.portal, "Folder", "news")
        api.user.create(email="eve@example.org", username="eve", password=PASSWORD)
        transaction.commit()
        self.fill_in(
            title="Nächtliche Notiz",
            user="eve",
            when="every",
            every="90",
            every_unit="minutes",
            context="/news/",
            grace="0.5",
            grace_unit="hours",
            overlap="both",
            missed="all",
            jitter="2",
            jitter_unit="minutes",
            quota="imports",
            keep="7",
        )
        self.browser.getControl(name="active").value = []
        self.show()
        self.save()
        info = get("nightly")
        self.assertEqual("Nächtliche Notiz", info.title)
        self.assertEqual("eve", info.user)
        self.assertEqual((None, timedelta(minutes=90)), (info.cron, info.every))
        self.assertEqual("news", info.context)
        self.assertEqual(timedelta(minutes=30), info.grace)
        self.assertEqual(timedelta(minutes=2), info.jitter)
        self.assertEqual(("both", "all"), (info.overlap, info.missed))
        self.assertEqual(("imports", 7), (info.quota, info.keep))
        self.assertFalse(info.active)

    def test_the_functions_are_there_with_their_descriptions(self):
        page = self.open(FORM)
        (option,) = page.xpath(f'//option[@value="{NOTE}"]')
        self.assertEqual("Note a word", option.text)
        self.assertEqual(
            "Writes a word down, for whoever reads it.", option.get("data-description")
        )
        (described,) = page.xpath('//noscript/dl/dt[text()="Note a word"]')
        self.assertEqual(option.get("data-description"), described.getnext().text)

    def test_a_time_that_was_not_shown_is_shown_before_it_is_saved(self):
        self.fill_in(cron="0 4 29 2 *", timezone="Asia/Kolkata")
        self.save()
        self.assertIsNone(get("nightly"))
        self.assertIn("Nothing is saved yet.", self.browser.contents)
        ahead = self.ahead()
        self.assertEqual(5, len(ahead))
        for moment in ahead:
            self.assertIn("-02-29T04:00:00+05:30", moment)
        self.save()
        self.assertEqual("0 4 29 2 *", get("nightly").cron)

    def test_a_time_that_was_shown_is_saved_at_once(self):
        self.fill_in(cron="0 4 * * *")
        self.show()
        self.assertIsNone(get("nightly"))
        self.assertEqual({}, self.errors())
        self.assertIn("T04:00:00", self.ahead()[0])
        self.save()
        self.assertEqual("0 4 * * *", get("nightly").cron)

    def test_a_time_that_is_changed_after_it_was_shown_is_shown_again(self):
        self.fill_in(cron="0 4 * * *")
        self.show()
        self.enter(cron="0 5 * * *")
        self.save()
        self.assertIsNone(get("nightly"))
        self.assertIn("T05:00:00", self.ahead()[0])

    def test_what_is_wrong_is_told_at_its_field_and_all_input_is_kept(self):
        api.user.create(email="eve@example.org", username="eve", password=PASSWORD)
        transaction.commit()
        sentences = {
            "name": [("", "Please enter a name"), ("x" * 101, "Please enter a name")],
            "title": [("x" * 300, "characters")],
            "function": [("", "Please choose one.")],
            "user": [("", "Please fill in"), ("nobody", "no such user")],
            "cron": [
                ("", "Please enter when"),
                ("30 2 * *", "five"),
                ("61 * * * *", "cron is '61 * * * *'"),
                ("0 0 31 2 *", "cron is '0 0 31 2 *'"),
                ("@daily", "five"),
            ],
            "context": [("news/nothing", "nothing at that path")],
            "arguments": [
                ("{", "line 1, column 2"),
                ("[1]", "in braces"),
                ('{"word": 1, "color": 1}', "color"),
                ('{"two words": 1}', "two words"),
                ("[" * 100_000, "too large"),
                ("", "word"),
            ],
            "grace": [("soon", "a number"), ("-1", "a number"), ("9" * 9, "at most")],
            "jitter": [("1,5", "a number")],
            "keep": [("0", "whole number"), ("1001", "whole"), ("many", "whole")],
        }
        for field, wrongs in sentences.items():
            for wrong, sentence in wrongs:
                with self.subTest(field=field, wrong=wrong[:20]):
                    self.fill_in(**{"title": "Kept", field: wrong})
                    if field == "grace":
                        self.enter(grace_unit="days")
                    self.save()
                    self.assertIsNone(get("nightly"))
                    self.assertIn(sentence, self.errors()[field])
                    self.assertEqual([field], list(self.errors()))
                    self.assertIn("Nothing was saved", self.browser.contents)
                    kept = self.value(field)
                    self.assertEqual(wrong, kept[0] if field == "function" else kept)
                    if field != "title":
                        self.assertEqual("Kept", self.value("title"))

    def test_all_errors_are_told_at_once(self):
        self.fill_in(name="", cron="soon", keep="many", arguments="{")
        self.save()
        self.assertEqual({"name", "cron", "keep", "arguments"}, set(self.errors()))

    def test_an_interval_that_is_none_is_told_at_its_field(self):
        for wrong, sentence in (("", "a number"), ("0", "one second or more")):
            self.fill_in(when="every", every=wrong)
            self.save()
            self.assertIn(sentence, self.page().xpath(ERRORS)[0].text_content())
            self.assertIsNone(get("nightly"))

    def test_what_is_wrong_among_the_settings_that_are_folded_away_opens_them(self):
        self.fill_in()
        self.assertIsNone(self.page().xpath('//*[@id="schedule-more"]/@open') or None)
        self.enter(keep="many")
        self.save()
        self.assertTrue(self.page().xpath('//*[@id="schedule-more"]/@open'))

    def test_a_name_that_is_taken_is_told(self):
        add("nightly")
        self.fill_in()
        self.save()
        self.assertEqual(
            {"name": "There is a schedule of this name already."}, self.errors()
        )

    def test_the_name_of_somebody_with_more_rights_is_refused(self):
        api.user.create(
            email="eve@example.org",
            username="eve",
            password=PASSWORD,
            roles=("Member", "Site Administrator"),
        )
        transaction.commit()
        self.browser = self.browser_of("eve", PASSWORD)
        self.fill_in(user=SITE_OWNER_NAME)
        self.save()
        self.assertIsNone(get("nightly"))
        self.assertEqual(["user"], list(self.errors()))

    def test_it_needs_the_authenticator(self):
        form = {"name": "nightly", "function": FAIL, "user": SITE_OWNER_NAME}
        form |= {"when": "every", "every": "1", "every-unit": "hours", "save": "1"}
        for sent in (form, {**form, "_authenticator": "guessed"}):
            self.post(FORM, **sent)
            self.assertEqual("403", self.status())
            self.browser.open(f"{self.portal.absolute_url()}/{FORM}?{urlencode(sent)}")
            self.assertIsNone(get("nightly"))

    def test_what_is_no_text_breaks_nothing(self):
        token = self.token()
        for extra in ("cron=a&cron=b", "name:list=x", "arguments:record=1", ""):
            url = f"{self.portal.absolute_url()}/{FORM}"
            self.browser.post(url, f"_authenticator={token}&save=1&{extra}")
            self.assertEqual("200", self.status())
            self.assertIn("Nothing was saved", self.browser.contents)


class TestChanging(FormTestCase):
    def setUp(self):
        super().setUp()
        add("nightly", title="Nightly notes", timezone="Europe/Berlin")

    def test_it_shows_what_the_schedule_says(self):
        add("often", FAIL, every=timedelta(minutes=90), arguments={"text": "ü"})
        self.edit("often")
        self.assertEqual(["every"], self.value("when"))
        self.assertEqual("90", self.value("every"))
        self.assertEqual(["minutes"], self.value("every-unit"))
        self.assertEqual({"text": "ü"}, json.loads(self.value("arguments")))
        self.assertIn("ü", self.value("arguments"))
        self.edit("nightly")
        self.assertEqual("Nightly notes", self.value("title"))
        self.assertEqual(["Europe/Berlin"], self.value("timezone"))
        self.assertEqual(5, len(self.ahead()))

    def test_an_interval_that_stays_goes_on_as_it_went(self):
        info = add("often", FAIL, every=timedelta(days=9))
        self.edit("often")
        self.assertEqual(info.next.isoformat(), self.ahead()[0])

    def test_what_is_changed_is_saved_at_once_if_the_time_stays(self):
        before = get("nightly")
        self.edit("nightly")
        self.enter(title="Other notes", keep="3")
        self.save()
        info = get("nightly")
        self.assertEqual(("Other notes", 3), (info.title, info.keep))
        self.assertEqual(before.next, info.next)
        self.assertIn("Changes saved.", self.told())

    def test_an_empty_title_is_the_name(self):
        self.edit("nightly")
        self.enter(title="")
        self.save()
        self.assertEqual("nightly", get("nightly").title)

    def test_another_time_is_shown_first(self):
        self.edit("nightly")
        self.enter(when="every", every="2", every_unit="days")
        self.save()
        self.assertEqual("30 2 * * *", get("nightly").cron)
        self.save()
        info = get("nightly")
        self.assertEqual((None, timedelta(days=2)), (info.cron, info.every))

    def test_nothing_changed_writes_nothing_and_says_so(self):
        self.edit("nightly")
        before = self.layer["zodbDB"].lastTransaction()
        self.save()
        self.assertEqual(before, self.layer["zodbDB"].lastTransaction())
        self.assertIn("Nothing was changed.", self.told())

    def test_what_another_has_changed_meanwhile_is_left_alone(self):
        self.edit("nightly")
        self.scheduler.change("nightly", title="Hers", grace=timedelta(hours=3))
        transaction.commit()
        self.enter(keep="3")
        self.save()
        info = get("nightly")
        self.assertEqual(("Hers", 3), (info.title, info.keep))
        self.assertEqual(timedelta(hours=3), info.grace)

    def test_what_another_has_changed_meanwhile_is_not_overwritten_unseen(self):
        self.edit("nightly")
        self.scheduler.change("nightly", title="Hers")
        transaction.commit()
        self.enter(title="Mine")
        self.save()
        self.assertEqual("Hers", get("nightly").title)
        self.assertIn("Somebody has set it to Hers meanwhile.", self.errors()["title"])
        self.assertEqual("Mine", self.value("title"))
        self.save()
        self.assertEqual("Mine", get("nightly").title)

    def test_a_time_that_another_has_changed_meanwhile_is_told(self):
        self.edit("nightly")
        self.scheduler.change("nightly", every=timedelta(hours=2))
        transaction.commit()
        self.enter(cron="0 4 * * *")
        self.save()
        self.assertIn("set it to 2 hours meanwhile", self.errors()["cron"])
        self.assertEqual(timedelta(hours=2), get("nightly").every)

    def test_one_that_another_has_removed_meanwhile_is_told_and_can_be_added_anew(self):
        self.edit("nightly")
        self.scheduler.remove("nightly")
        transaction.commit()
        self.enter(title="Mine")
        self.save()
        self.assertIsNone(get("nightly"))
        self.assertIn("no schedule of this name any more", self.browser.contents)
        self.save()
        self.assertEqual("Mine", get("nightly").title)

    def test_a_function_that_is_not_registered_is_kept(self):
        add("python", work.find_pages)
        self.edit("python")
        self.enter(title="Find pages")
        self.save()
        info = get("python")
        self.assertEqual("Find pages", info.title)
        self.assertTrue(info.function.endswith("find_pages"))

    def test_one_that_is_not_there_is_not_found(self):
        self.open(f"{FORM}?name=nobody")
        self.assertEqual("404", self.status())


class TestTheFirings(FormTestCase):
    def preview(self, **fields):
        given = {"when": "cron", "timezone": "Europe/Berlin", "every-unit": "minutes"}
        query = urlencode({**given, **fields})
        return self.open(f"{PREVIEW}?{query}")

    def test_the_next_five_are_a_fragment_for_the_script(self):
        page = self.preview(cron="30 2 * * *")
        self.assertEqual(5, len(self.ahead()))
        self.assertEqual([], page.xpath("//head/title"))
        self.assertIn("Every day at 02:30", page.text_content())
        self.assertEqual(["30 2 * * * Europe/Berlin"], page.xpath("//input/@value"))
        page = self.preview(when="every", every="5")
        self.assertIn("Every 5 minutes", page.text_content())

    def test_what_is_wrong_is_told_in_their_place(self):
        page = self.preview(cron="<b>soon</b>")
        self.assertEqual([], self.ahead())
        self.assertIn("<b>soon</b>", page.text_content())
        self.assertEqual([""], page.xpath("//input/@value"))
        page = self.preview(cron="0 0 * * *", timezone="Europe/Nowhere")
        self.assertIn("Europe/Nowhere", page.text_content())

    def test_both_offsets_are_told_around_a_switch_of_the_clocks(self):
        text = self.preview(cron="30 2 1 1,7 *").text_content()
        self.assertIn("UTC+02:00", text)
        self.assertIn("UTC+01:00", text)
