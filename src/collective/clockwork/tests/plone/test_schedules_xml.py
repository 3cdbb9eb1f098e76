"""Schedules in a profile's schedules.xml: imported, refused and exported."""

from __future__ import annotations

from AccessControl.SecurityManagement import newSecurityManager
from AccessControl.users import system
from collective.clockwork.schedules import ticking
from collective.clockwork.tests.plone.schedulefiles import FilesTestCase
from collective.clockwork.tests.plone.schedulerscase import ANNA
from collective.clockwork.tests.plone.schedulerscase import BERT
from collective.clockwork.tests.plone.schedulerscase import NOTE
from collective.clockwork.tests.plone.schedulerscase import SUM
from collective.clockwork.tests.plone.schedulerscase import tell_user
from datetime import timedelta
from plone.app.testing import setRoles
from plone.app.testing import TEST_USER_ID
from Products.PluggableAuthService.PropertiedUser import PropertiedUser

import transaction


HOUR = timedelta(hours=1)

FULL = f"""\
<schedules>
  <!-- All fields. -->
  <schedule name="nightly" title="Jede Nacht, früh" function="{NOTE}"
            cron="30 2 * * 1-5" timezone="Europe/Berlin" user="anna" context="folder"
            grace="90s" overlap="queue" missed="all" jitter="2h" keep="3"
            quota="default" active="false">
    <arguments><![CDATA[{{"word": "ä < b"}}]]></arguments>
  </schedule>
  <schedule name="sums" function="{SUM}" every="15m" />
</schedules>
"""


def schedules(*elements, **root):
    shown = "".join(f' {name}="{value}"' for name, value in root.items())
    inside = "\n".join(elements)
    return f"<schedules{shown}>\n{inside}\n</schedules>"


def schedule(name="sums", function=SUM, **given):
    attributes = {"name": name, "function": function, **given}
    shown = "".join(
        f' {each}="{value}"' for each, value in attributes.items() if value is not None
    )
    return f"<schedule{shown} />"


class TestImport(FilesTestCase):
    def test_all_fields_are_imported(self):
        self.add_user(ANNA)
        self.import_text(FULL)
        info = self.scheduler.get("nightly")
        self.assertEqual(("Jede Nacht, früh", NOTE), (info.title, info.function))
        self.assertEqual("30 2 * * 1-5", info.cron)
        self.assertEqual(("Europe/Berlin", ANNA), (info.timezone, info.user))
        self.assertEqual(("folder", {"word": "ä < b"}), (info.context, info.arguments))
        self.assertEqual(timedelta(seconds=90), info.grace)
        self.assertEqual(
            ("queue", "all", 2 * HOUR), (info.overlap, info.missed, info.jitter)
        )
        self.assertEqual((3, "default", False), (info.keep, info.quota, info.active))
        self.assertEqual(("site", None), (info.origin, info.problem))

    def test_the_rest_is_as_by_default_and_runs_as_who_imports(self):
        self.import_text(schedules(schedule(every="15m")))
        info = self.scheduler.get("sums")
        self.assertEqual(timedelta(minutes=15), info.every)
        self.assertEqual((TEST_USER_ID, True), (info.user, info.active))

    def test_nobody_is_answered_for_by_the_system_user(self):
        newSecurityManager(None, system)
        log = self.import_text(schedules(schedule(every="15m")))
        self.assertIn("Schedule 'sums' cannot fire as it is: Choose the user", log)
        info = self.scheduler.get("sums")
        self.assertEqual((False, ""), (info.active, info.user))

    def test_what_is_not_there_is_said_in_the_log(self):
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        log = self.import_text(schedules(schedule(every="15m", user="gone")))
        self.assertIn("There is no user gone.", log)
        self.assertEqual("gone", self.scheduler.get("sums").user)

    def test_a_second_import_writes_nothing(self):
        self.import_text(FULL)
        transaction.commit()
        before = self.layer["zodbDB"].lastTransaction()
        self.told.clear()
        self.import_text(FULL)
        jar = self.portal._p_jar
        changed = [
            each
            for each in jar._registered_objects
            if type(each).__module__.startswith("collective.clockwork")
        ]
        self.assertEqual([], changed)
        self.assertEqual([], self.told)
        self.assertEqual(before, self.layer["zodbDB"].lastTransaction())

    def test_a_profile_without_the_file_changes_nothing(self):
        tool = self.portal.portal_setup
        tool.runImportStepFromProfile(f"profile-{self.profile}", self.step)
        self.assertEqual([], self.names())

    profile = "collective.clockwork:schedules"

    def test_a_changed_file_is_followed(self):
        self.import_text(schedules(schedule(every="15m", keep="3")))
        self.import_text(schedules(schedule(every="1h", title="New")))
        info = self.scheduler.get("sums")
        self.assertEqual((HOUR, "New", 25), (info.every, info.title, info.keep))

    def test_another_one_who_imports_does_not_take_it_over(self):
        self.import_text(schedules(schedule(every="15m")))
        self.login_as_site_owner()
        self.import_text(schedules(schedule(every="1h")))
        info = self.scheduler.get("sums")
        self.assertEqual((HOUR, TEST_USER_ID), (info.every, info.user))


class TestRights(FilesTestCase):
    """What an archive says that somebody uploads."""

    def test_a_user_whom_one_may_not_name_is_left_out(self):
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        log = self.import_text(
            schedules(
                schedule(every="15m", user="admin"), ticks="true", ticks_user="admin"
            )
        )
        self.assertIn("Schedule 'sums' cannot fire as it is: Choose the user", log)
        for name in ("sums", "tick", "tick_daily"):
            info = self.scheduler.get(name)
            self.assertEqual((False, ""), (info.active, info.user))

    def test_one_with_more_roles_neither(self):
        self.add_user(ANNA, "Member", "Manager")
        for user in (ANNA, "gone"):
            self.import_text(schedules(schedule(user, every="15m", user=user)))
            self.assertEqual("", self.scheduler.get(user).user)

    def test_one_whom_no_folder_knows_names_nobody(self):
        folder = self.portal.acl_users
        ghost = PropertiedUser("ghost").__of__(folder)
        ghost._addRoles(["Manager"])
        newSecurityManager(None, ghost)
        self.import_text(schedules(schedule(every="15m", user="admin")))
        self.login_as_site_owner()
        self.assertEqual("", self.scheduler.get("sums").user)

    def test_what_runs_as_such_a_user_is_not_made_to_do_something_else(self):
        self.login_as_site_owner()
        self.import_text(schedules(schedule(every="15m", user="admin")))
        self.login_as_test_user()
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        self.assert_file_refused(
            schedules(schedule(every="15m", context="folder", overwrite="true")),
            "<schedule name='sums'>",
            "it runs as the user 'admin', whom you may not name",
        )
        self.import_text(schedules(schedule(every="1h")))
        info = self.scheduler.get("sums")
        self.assertEqual((HOUR, "admin", ""), (info.every, info.user, info.context))


class TestChangedByHand(FilesTestCase):
    def setUp(self):
        super().setUp()
        self.import_text(schedules(schedule(every="15m")))
        self.scheduler.change("sums", every=HOUR)

    def test_it_is_kept_and_the_log_says_so(self):
        log = self.import_text(schedules(schedule(every="2h", title="New")))
        self.assertIn("Schedule 'sums' keeps what was changed by hand (every)", log)
        info = self.scheduler.get("sums")
        self.assertEqual((HOUR, "New"), (info.every, info.title))

    def test_overwrite_sets_it_all_the_same(self):
        self.import_text(schedules(schedule(every="2h", overwrite="true")))
        self.assertEqual(2 * HOUR, self.scheduler.get("sums").every)
        self.import_text(schedules(schedule(every="3h")))
        self.assertEqual(3 * HOUR, self.scheduler.get("sums").every)

    def test_one_that_was_made_by_hand_is_kept(self):
        self.add("mine")
        self.import_text(schedules(schedule("mine", NOTE, cron="0 0 * * *")))
        self.assertEqual("30 2 * * *", self.scheduler.get("mine").cron)


class TestRemoval(FilesTestCase):
    def setUp(self):
        super().setUp()
        self.add("a")
        self.add("b")

    def test_one_is_removed(self):
        log = self.import_text(schedules('<schedule name="a" remove="true" />'))
        self.assertIn("Schedule 'a' removed.", log)
        self.assertEqual(["b"], self.names())

    def test_one_that_is_not_there_is_no_error(self):
        self.import_text(schedules('<schedule name="c" remove="true" />'))
        self.assertEqual(["a", "b"], self.names())

    def test_purge_removes_what_the_file_does_not_name(self):
        self.import_text(
            schedules(schedule("b", every="1h"), schedule(every="1h"), purge="true")
        )
        self.assertEqual(["b", "sums"], self.names())

    def test_purge_leaves_ticks_that_the_file_wants(self):
        self.import_text(schedules(purge="true", ticks="true"))
        self.assertEqual(sorted(ticking.FUNCTIONS), self.names())


class TestSwitches(FilesTestCase):
    def test_ticks_are_enabled_and_disabled(self):
        self.import_text(schedules(ticks="true"))
        self.assertTrue(ticking.is_enabled())
        self.assertEqual(TEST_USER_ID, self.scheduler.get("tick").user)
        self.import_text(schedules())
        self.assertTrue(ticking.is_enabled())
        self.import_text(schedules(ticks="false"))
        self.assertFalse(ticking.is_enabled())

    def test_the_user_of_ticks_can_be_said(self):
        self.add_user(ANNA)
        self.import_text(schedules(ticks="true", ticks_user=ANNA))
        self.assertEqual(ANNA, self.scheduler.get("tick_daily").user)

    def test_what_the_file_says_of_one_of_them_goes_before(self):
        name = "tick_daily"
        self.import_text(
            schedules(
                schedule(name, ticking.FUNCTIONS[name], cron="0 6 * * *"),
                '<schedule name="tick_weekly" remove="true" />',
                ticks="true",
            )
        )
        self.assertEqual("0 6 * * *", self.scheduler.get(name).cron)
        self.assertEqual(sorted({*ticking.FUNCTIONS} - {"tick_weekly"}), self.names())

    def test_all_of_the_site_are_switched(self):
        self.import_text(schedules(enabled="false"))
        self.assertFalse(self.scheduler.is_enabled())
        self.import_text(schedules())
        self.assertFalse(self.scheduler.is_enabled())
        self.import_text(schedules(enabled="true"))
        self.assertTrue(self.scheduler.is_enabled())


class TestRefusals(FilesTestCase):
    def refused(self, element, *parts):
        """Refused is the element in line 3, and the file as a whole."""
        good = schedule("good", every="1h")
        self.assert_file_refused(schedules(good, element), "line 3", *parts)

    def test_times_and_other_fields(self):
        self.refused(schedule(), "<schedule name='sums'>", "cron or every")
        self.refused(schedule(every="1h", cron="* * * * *"), "both")
        self.refused(schedule(cron="x"), "'x'")
        self.refused(schedule(every="soon"), "every is 'soon' is no duration")
        self.refused(schedule(every="1h", timezone="Mars"), "'Mars'")
        self.refused(schedule(every="1h", keep="-1"), "keep is '-1'")
        self.refused(schedule(every="1h", keep="0"), "keep is 0")
        self.refused(schedule(every="1h", overlap="no"), "overlap is 'no'")
        self.refused(schedule(every="1h", active="no"), "active is 'no'")
        self.refused(schedule(every="1h", cron="", name=""), "needs name")

    def test_functions_that_are_not_registered(self):
        self.refused(schedule(every="1h", function="os.system"), "'os.system'", SUM)
        self.refused(schedule(every="1h", function="os:system"), "'os:system'")
        self.refused(schedule(every="1h", function=None), "it needs function")

    def test_one_that_is_there_by_python_may_stay(self):
        self.scheduler.add("who", tell_user, every=HOUR)
        name = self.scheduler.get("who").function
        self.import_text(schedules(schedule("who", name, every="2h", overwrite="true")))
        self.assertEqual(2 * HOUR, self.scheduler.get("who").every)

    def test_arguments(self):
        element = f'<schedule name="a" function="{SUM}" every="1h">{{}}</schedule>'
        for arguments in ("[1]", "word", '{"a b": 1}'):
            with self.subTest(arguments=arguments):
                inside = f"<arguments>{arguments}</arguments>"
                self.refused(element.format(inside), "line 3")
        twice = "<arguments>{}</arguments>" * 2
        self.refused(element.format(twice), "arguments above it")
        deep = "[" * 100_000
        self.refused(element.format(f"<arguments>{deep}</arguments>"), "is no JSON")
        self.refused(element.format("text"), "the text 'text'")
        self.refused(element.format("<other />"), "there may be <arguments>")

    def test_names(self):
        self.refused(schedule("good", every="1h"), "of that name above it")
        self.refused(schedule("x" * 101, every="1h"), "100 printable")

    def test_what_is_unknown(self):
        self.refused(schedule(evry="1h"), "evry='1h'", "did you mean 'every'?")
        self.refused("<cron />", "<cron>", "there may be <schedule>")
        self.assert_file_refused("<crons />", "must be <schedules>")
        self.assert_file_refused(schedules(tick="true"), "did you mean 'ticks'?")
        self.assert_file_refused("<schedules>", "is no XML")

    def test_what_is_to_go_has_nothing_but_a_name(self):
        self.refused(schedule(remove="true"), "leave out all but the name")

    def test_ticks_when_something_else_has_their_name(self):
        self.add("tick")
        self.assert_refused(
            ValueError,
            "does something else",
            self.import_text,
            schedules(schedule(every="1h"), ticks="true"),
        )
        self.assertEqual(["tick"], self.names())

    def test_a_file_of_the_machine_is_not_read_into_it(self):
        secret = self.directory / "secret"
        secret.write_text("password")
        self.assert_file_refused(
            f'<!DOCTYPE schedules [<!ENTITY x SYSTEM "file://{secret}">]>'
            "<schedules>&x;<schedule /></schedules>",
            "it needs name",
        )


class TestExport(FilesTestCase):
    def test_it_holds_what_is_not_as_by_default(self):
        self.add_user(ANNA)
        self.add_user(BERT)
        self.import_text(FULL)
        self.assertEqual(
            "<?xml version='1.0' encoding='utf-8'?>\n"
            '<schedules enabled="true" ticks="false">\n'
            '  <schedule name="nightly" title="Jede Nacht, früh" '
            f'function="{NOTE}" cron="30 2 * * 1-5" timezone="Europe/Berlin" '
            'user="anna" context="folder" grace="90s" overlap="queue" missed="all" '
            'jitter="2h" keep="3" quota="default" active="false">\n'
            '    <arguments>{"word": "ä &lt; b"}</arguments>\n'
            "  </schedule>\n"
            f'  <schedule name="sums" function="{SUM}" every="15m" timezone="UTC" '
            f'user="{TEST_USER_ID}" quota="default"/>\n'
            "</schedules>\n",
            self.export(),
        )

    def test_texts_that_xml_cannot_hold_are_in_it_as_json(self):
        word = "\ud800 \uffff \x00 \x7f ä"
        self.add(arguments={"word": word})
        text = self.export()
        self.scheduler.remove("notes")
        self.import_text(text)
        self.assertEqual(word, self.scheduler.get("notes").arguments["word"])

    def test_it_can_be_imported_again(self):
        self.add_user(ANNA)
        self.import_text(FULL)
        ticking.enable()
        self.scheduler.change("tick_daily", cron="0 6 * * *")
        self.scheduler.deactivate("tick_monthly")
        self.scheduler.disable()
        exported, before = self.export(), self.scheduler.list()
        for name in self.names():
            self.scheduler.remove(name)
        self.scheduler.enable()
        self.import_text(exported)
        self.assertEqual(exported, self.export())
        self.assertEqual(before, self.scheduler.list())

    def test_an_archive_that_somebody_uploads_is_imported(self):
        self.import_text(schedules(schedule(every="15m")))
        tool = self.portal.portal_setup
        archive = tool.runExportStep(self.step)["tarball"]
        self.scheduler.remove("sums")
        tool.runAllImportStepsFromProfile(None, purge_old=False, archive=archive)
        self.assertEqual(["sums"], self.names())

    def test_a_site_without_schedules_has_a_file_too(self):
        self.assertIn('<schedules enabled="true" ticks="false"/>', self.export())
