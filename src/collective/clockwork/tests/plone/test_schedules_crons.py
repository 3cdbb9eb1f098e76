"""collective.cron's crons.xml is imported."""

from __future__ import annotations

from collective.clockwork.schedules import cronsfile
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.schedulefiles import FilesTestCase
from collective.clockwork.tests.plone.schedulerscase import NOTE
from collective.clockwork.tests.plone.schedulerscase import SUM
from datetime import timedelta
from plone.app.testing import setRoles
from plone.app.testing import TEST_USER_ID


def crons(*elements):
    inside = "\n".join(elements)
    return f'<?xml version="1.0"?>\n<crons>\n{inside}\n</crons>'


def cron(uid="sums-uid", name=SUM, periodicity="*/5 * * * *", environ=None, **given):
    attributes = {"uid": uid, "name": name, "periodicity": periodicity, **given}
    shown = "".join(
        f' {each}="{value}"' for each, value in attributes.items() if value is not None
    )
    inside = "" if environ is None else f"<environ><![CDATA[ {environ} ]]></environ>"
    return f"<cron{shown}>{inside}</cron>"


class CronsTestCase(FilesTestCase):
    filename = "crons.xml"
    step = "collective.clockwork.crons"

    def get(self, uid="sums-uid"):
        return self.scheduler.get(uid)


class TestImport(CronsTestCase):
    def test_a_cron_becomes_a_schedule_of_its_uid(self):
        self.import_text(
            crons(cron("n1", NOTE, environ='{"word": "ä"}', activated="True"))
        )
        info = self.get("n1")
        self.assertEqual((NOTE, NOTE), (info.title, info.function))
        self.assertEqual(("*/5 * * * *", {"word": "ä"}), (info.cron, info.arguments))
        self.assertEqual((True, TEST_USER_ID), (info.active, info.user))
        self.assertIsNone(info.problem)
        self.scheduler.run_now("n1")
        drain()
        self.assertEqual(["ä"], work.happened)

    def test_it_is_not_active_unless_the_file_says_so(self):
        self.import_text(crons(cron(), cron("off", activated="no")))
        self.assertEqual([False, False], [i.active for i in self.scheduler.list()])

    def test_what_was_true_is_true(self):
        for number, text in enumerate(("true", "True", "t", "YES", "y", "on", "1")):
            with self.subTest(text=text):
                self.import_text(crons(cron(f"c{number}", activated=text)))
                self.assertTrue(self.get(f"c{number}").active)

    def test_a_name_that_is_no_function_says_what_to_do(self):
        for name in ("my-runner", "scripts/my_script", "os:system"):
            with self.subTest(name=name):
                log = self.import_text(crons(cron(name, name, activated="true")))
                stored = name.replace(":", ".")
                self.assertIn(f"There is no function {stored}: choose another", log)
                info = self.get(name)
                self.assertEqual((False, name), (info.active, info.title))
                self.assertEqual({"function": stored}, info.problem.mapping)
                with self.assertRaises(ValueError):
                    self.scheduler.run_now(name)

    def test_it_fires_when_a_manager_has_chosen_a_function(self):
        self.import_text(crons(cron(name="my-runner", activated="true")))
        self.scheduler.change("sums-uid", function=SUM, active=True)
        info = self.get()
        self.assertEqual((True, None), (info.active, info.problem))
        self.import_text(crons(cron(name="my-runner", activated="true")))
        self.assertEqual((SUM, True), (self.get().function, self.get().active))

    def test_environ_that_the_function_does_not_take_says_so(self):
        log = self.import_text(crons(cron(environ='{"foo": "bar"}', activated="true")))
        self.assertIn("does not take these arguments", log)
        self.assertFalse(self.get().active)
        self.assertEqual({"foo": "bar"}, self.get().arguments)

    def test_the_request_of_environ_is_left_out(self):
        environ = '{"REQUEST": {"HTTP_HOST": "x"}}'
        log = self.import_text(crons(cron(environ=environ)))
        self.assertIn("without the REQUEST of its environ", log)
        self.assertEqual({}, self.get().arguments)

    def test_a_known_uid_is_edited_and_what_is_not_said_is_kept(self):
        self.import_text(crons(cron(activated="true")))
        self.import_text(crons(cron(name=None, periodicity="0 * * * *")))
        info = self.get()
        self.assertEqual(
            ("0 * * * *", SUM, True), (info.cron, info.function, info.active)
        )
        self.import_text(crons(cron(name=None, periodicity=None, activated="false")))
        self.assertEqual((False, "0 * * * *"), (self.get().active, self.get().cron))

    def test_elements_count_in_their_order(self):
        self.import_text(crons(cron(), cron("other")))
        self.import_text(
            crons(
                cron(remove="true"),
                cron(name=NOTE, periodicity="*/3 * * * *", environ='{"word": "x"}'),
                cron("other", None, None, remove="True"),
                cron("never", None, None, remove="true"),
            )
        )
        self.assertEqual(["sums-uid"], self.names())
        self.assertEqual(("*/3 * * * *", NOTE), (self.get().cron, self.get().function))

    def test_a_profile_without_the_file_changes_nothing(self):
        tool = self.portal.portal_setup
        profile = "profile-collective.clockwork:schedules"
        tool.runImportStepFromProfile(profile, self.step)
        self.assertEqual([], self.names())


class TestPeriodicity(CronsTestCase):
    def test_a_sixth_field_is_taken_if_it_is_an_interval_or_0(self):
        for text, cron, seconds in (
            ("*/5 * * * *", "*/5 * * * *", None),
            ("30 2 * * * 0", "30 2 * * *", None),
            ("* * * * * *", None, 1),
            ("* * * * * */15", None, 15),
            ("@daily", "0 0 * * *", None),
        ):
            with self.subTest(text=text):
                every = None if seconds is None else timedelta(seconds=seconds)
                expected = {"cron": cron, "every": every}
                self.assertEqual(expected, cronsfile.periodicity(text))

    def test_other_times_are_refused(self):
        for text in ("* * * * * 30", "0 * * * * */15", "* * * * * */7", "* * * *"):
            with self.subTest(text=text):
                self.assert_file_refused(
                    crons(cron("good"), cron(periodicity=text)),
                    "line 4",
                    repr(text)[1:-1],
                )


class TestRefusals(CronsTestCase):
    def refused(self, element, *parts):
        self.assert_file_refused(crons(cron("good"), element), "line 4", *parts)

    def test_what_a_new_one_needs(self):
        self.refused(cron(None), "it needs uid")
        self.refused(cron(name=None), "<cron uid='sums-uid'>", "it needs name")
        self.refused(cron(periodicity=None), "it needs periodicity")

    def test_one_that_is_refused_undoes_those_above_it(self):
        self.login_as_site_owner()
        self.add("of admin")
        self.add("other")
        self.login_as_test_user()
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        self.assert_file_refused(
            crons(cron("other", remove="true"), cron("new"), cron("of admin")),
            "line 5",
            "whom you may not name",
        )

    def test_values(self):
        self.refused(cron(activated="perhaps"), "activated is 'perhaps'")
        self.refused(cron(environ="foo"), "is no JSON")
        self.refused(cron(environ="[]"), "is no object")
        self.refused(cron(environ='{"a b": 1}'), "'a b'")
        self.refused(cron("x" * 101), "100 printable")
        self.refused(cron(period="1"), "did you mean 'periodicity'?")
        self.refused("<job />", "there may be <cron>")
