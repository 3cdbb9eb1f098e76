"""Queues and quotas in a profile's clockwork.xml: imported, refused and exported."""

from __future__ import annotations

from collective.clockwork import quotas
from collective.clockwork.exportimport import ClockworkXMLError
from collective.clockwork.service import DEFAULT_QUOTA
from collective.clockwork.testing import drain
from collective.clockwork.tests.codeblocks import named_blocks
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import add_site
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from io import BytesIO
from pathlib import Path
from Products.GenericSetup import EXTENSION
from Products.GenericSetup import profile_registry
from tempfile import TemporaryDirectory
from zope.component.hooks import setSite

import tarfile


STEP = "collective.clockwork"
PROFILE = "collective.clockwork:quotas"


class XMLTestCase(ServiceTestCase):
    installed = frozenset()

    def setUp(self):
        super().setUp()
        #: What the add-on brings with it besides ``default``.
        self.installed = set(self.sizes()) - {DEFAULT_QUOTA}
        self.directory = Path(self.enterContext(TemporaryDirectory()))
        profile_registry.registerProfile(
            "quotas",
            "Quotas",
            "",
            str(self.directory),
            "collective.clockwork",
            EXTENSION,
        )
        self.addCleanup(
            profile_registry.unregisterProfile, "quotas", "collective.clockwork"
        )

    def import_text(self, text, site=None):
        """Have the set-up tool import this file; returns the import's log."""
        (self.directory / "clockwork.xml").write_text(text, "utf-8")
        tool = (site or self.portal).portal_setup
        result = tool.runImportStepFromProfile(f"profile-{PROFILE}", STEP)
        return "\n".join(result["messages"].values())

    def import_quotas(self, *elements, queue='name=""'):
        inside = "\n".join(elements)
        return self.import_text(
            f"<clockwork><queue {queue}>{inside}</queue></clockwork>"
        )

    def sizes(self, queue=""):
        """The sizes of a queue's quotas, without those of the installation."""
        found = self.service.getQueues()[queue].quotas
        return {n: q.size for n, q in found.items() if n not in self.installed}

    def set_size(self, name, size):
        quotas.set_size("", name, size)


class TestImport(XMLTestCase):
    def test_the_example_of_the_documentation_is_imported(self):
        self.import_text(named_blocks("docs/setup.rst")["clockwork.xml"])
        self.assertEqual({"default": 1, "newsletter": 1, "thumbnails": 4}, self.sizes())

    def test_a_profile_without_the_file_changes_nothing(self):
        tool = self.portal.portal_setup
        tool.runImportStepFromProfile(f"profile-{PROFILE}", STEP)
        self.assertEqual({"default": 1}, self.sizes())

    def test_a_queue_that_is_missing_is_made_with_its_default_quota(self):
        self.import_quotas('<quota name="night" size="2" />', queue='name="slow"')
        self.assertEqual({"default": 1, "night": 2}, self.sizes("slow"))
        self.assertEqual({"default": 1}, self.sizes())

    def test_jobs_run_in_a_queue_and_a_quota_of_the_file(self):
        self.import_quotas('<quota name="night" size="2" />', queue='name="slow"')
        job = self.service.queueJobInQueue(
            "slow", ("night",), work.add_numbers, self.folder, 40, 2
        )
        self.assertEqual(42, self.run_job(job))

    def test_the_size_of_default_can_be_declared(self):
        self.import_quotas('<quota name="default" size="3" />')
        self.assertEqual({"default": 3}, self.sizes())

    def test_a_new_size_in_the_file_is_taken_over(self):
        self.import_quotas('<quota name="night" size="2" />')
        self.import_quotas('<quota name="night" size="5" />')
        self.assertEqual(5, self.sizes()["night"])

    def test_size_0_is_a_size(self):
        self.import_quotas('<quota name="night" size="0" />')
        self.assertEqual(0, self.sizes()["night"])

    def test_comments_are_allowed(self):
        self.import_quotas("<!-- for reports -->", '<quota name="night" size="2" />')
        self.assertEqual(2, self.sizes()["night"])

    def test_an_import_that_changes_nothing_writes_nothing(self):
        self.import_quotas('<quota name="night" size="2" />')
        quota = self.service.getQueues()[""].quotas["night"]
        self.stored_jobs()
        self.import_quotas('<quota name="night" size="2" />')
        self.assertFalse(quota._p_changed)


class TestSizesSetByHand(XMLTestCase):
    def test_they_are_kept_and_the_log_says_so(self):
        self.import_quotas('<quota name="night" size="2" />')
        self.set_size("night", 7)
        log = self.import_quotas('<quota name="night" size="3" />')
        self.assertEqual(7, self.sizes()["night"])
        self.assertIn("Quota 'night' of queue '' keeps the size that was set", log)

    def test_they_are_kept_at_the_import_after_that_too(self):
        self.import_quotas('<quota name="night" size="2" />')
        self.set_size("night", 7)
        self.import_quotas('<quota name="night" size="3" />')
        self.import_quotas('<quota name="night" size="4" />')
        self.assertEqual(7, self.sizes()["night"])

    def test_overwrite_sets_them_all_the_same(self):
        self.import_quotas('<quota name="night" size="2" />')
        self.set_size("night", 7)
        self.import_quotas('<quota name="night" size="3" overwrite="true" />')
        self.assertEqual(3, self.sizes()["night"])
        self.import_quotas('<quota name="night" size="4" />')
        self.assertEqual(4, self.sizes()["night"])

    def test_a_quota_made_by_hand_keeps_its_size(self):
        quotas.create("", "night", 7)
        self.import_quotas('<quota name="night" size="3" />')
        self.assertEqual(7, self.sizes()["night"])

    def test_of_default_another_size_than_1_was_set_by_hand(self):
        self.set_size(DEFAULT_QUOTA, 2)
        self.import_quotas('<quota name="default" size="3" />')
        self.assertEqual(2, self.sizes()[DEFAULT_QUOTA])


class TestRemoval(XMLTestCase):
    def setUp(self):
        super().setUp()
        self.import_quotas(
            '<quota name="night" size="2" />', '<quota name="day" size="2" />'
        )

    def queue_under(self, name):
        return self.service.queueJobInQueue("", (name,), work.note, self.folder, name)

    def remove_night(self):
        return self.import_quotas('<quota name="night" remove="true" />')

    def test_a_quota_is_removed(self):
        self.remove_night()
        self.assertEqual({"default": 1, "day": 2}, self.sizes())

    def test_one_that_is_not_there_is_no_error(self):
        self.remove_night()
        self.remove_night()
        self.assertNotIn("night", self.sizes())

    def test_one_that_a_job_waits_for_stays_until_that_is_done(self):
        self.queue_under("night")
        self.assertIn("Not removed: the quota 'night'", self.remove_night())
        self.assertIn("night", self.sizes())
        drain()
        self.remove_night()
        self.assertNotIn("night", self.sizes())

    def test_one_that_a_member_of_a_waiting_batch_needs_stays(self):
        batch = self.service.queueSerialJobs(
            self.service.makeJob(work.note, self.folder, "inner")
        )
        (member,) = batch.args
        member.quota_names = ("night",)
        self.assertIn("Not removed", self.remove_night())
        self.assertIn("night", self.sizes())

    def test_one_in_which_a_job_runs_stays(self):
        self.queue_under("night")
        queue = self.service.getQueues()[""]
        self.stored_jobs()
        queue.claim()
        self.assertEqual(1, len(queue.quotas["night"]))
        self.assertIn("Not removed", self.remove_night())

    def test_purge_removes_what_the_file_does_not_name(self):
        self.import_quotas(
            '<quota name="day" size="2" />', queue='name="" purge="true"'
        )
        self.assertEqual({"default": 1, "day": 2}, self.sizes())

    def test_purge_leaves_what_is_in_use(self):
        self.queue_under("night")
        log = self.import_quotas(queue='name="" purge="true"')
        self.assertEqual({"default": 1, "night": 2}, self.sizes())
        self.assertIn("Not removed: the quota 'night'", log)

    def test_without_purge_other_quotas_stay(self):
        self.import_quotas('<quota name="third" size="1" />')
        self.assertEqual({"default", "day", "night", "third"}, set(self.sizes()))


class TestRefusals(XMLTestCase):
    def assert_refused(self, text, *parts):
        with self.assertRaises(ClockworkXMLError) as caught:
            self.import_text(text)
        for part in ("clockwork.xml", *parts):
            self.assertIn(part, str(caught.exception))
        self.assertEqual({"default": 1}, self.sizes())
        self.assertEqual([""], list(self.service.getQueues()))

    def assert_quota_refused(self, quota, *parts):
        good = '<quota name="good" size="2" />'
        self.assert_refused(
            f'<clockwork>\n<queue name="new">\n{good}\n{quota}\n</queue>\n</clockwork>',
            "line 4",
            *parts,
        )

    def test_a_size_that_is_none_is_named_with_its_place(self):
        for size in ("four", "-1", "1.5", "", "٣", "12345678"):
            with self.subTest(size=size):
                self.assert_quota_refused(
                    f'<quota name="night" size="{size}" />',
                    "<quota name='night'>",
                    f"size is {size!r}",
                )

    def test_a_quota_needs_name_and_size(self):
        self.assert_quota_refused('<quota size="1" />', "it needs a name")
        self.assert_quota_refused('<quota name="night" />', "it needs a size")

    def test_a_name_that_cannot_be_is_named(self):
        self.assert_quota_refused('<quota name="" size="1" />', "name is ''")
        self.assert_quota_refused(
            '<quota name="a&#10;b" size="1" />', r"name is 'a\nb'"
        )

    def test_two_quotas_of_one_name_are_refused(self):
        self.assert_quota_refused(
            '<quota name="good" size="1" />', "as in a quota above"
        )

    def test_neither_yes_nor_no_is_named(self):
        self.assert_quota_refused(
            '<quota name="night" size="1" overwrite="maybe" />', "overwrite is 'maybe'"
        )

    def test_default_cannot_be_removed(self):
        self.assert_quota_refused('<quota name="default" remove="true" />', "'default'")

    def test_a_quota_that_is_to_go_has_no_size(self):
        self.assert_quota_refused(
            '<quota name="night" size="1" remove="true" />', "leave out size"
        )

    def test_an_unknown_attribute_gets_advice(self):
        self.assert_quota_refused(
            '<quota name="night" sise="1" />', "sise='1'", "did you mean 'size'?"
        )

    def test_unknown_elements_and_texts_are_refused(self):
        self.assert_quota_refused("<quotum />", "<quotum>", "there may be <quota>")
        self.assert_quota_refused('<quota name="a" size="1">b</quota>', "the text 'b'")
        self.assert_refused("<queues />", "line 1", "<queues>", "must be <clockwork>")

    def test_a_queue_cannot_be_removed(self):
        self.assert_refused(
            '<clockwork><queue name="" remove="true" /></clockwork>',
            "remove is 'true'",
            "would be lost",
        )

    def test_two_queues_of_one_name_are_refused(self):
        self.assert_refused(
            '<clockwork><queue name="a" /><queue name="a" /></clockwork>',
            "as in a queue above",
        )

    def test_what_is_no_xml_is_refused(self):
        self.assert_refused("<clockwork>", "is no XML")

    def test_a_file_of_the_machine_is_not_read_into_it(self):
        secret = self.directory / "secret"
        secret.write_text("password")
        self.assert_refused(
            f'<!DOCTYPE clockwork [<!ENTITY x SYSTEM "file://{secret}">]>'
            '<clockwork><queue name="">&x;</queue><queue /></clockwork>',
            "it needs a name",
        )


class TestExport(XMLTestCase):
    def export(self):
        result = self.portal.portal_setup.runExportStep(STEP)
        with tarfile.open(fileobj=BytesIO(result["tarball"])) as archive:
            text = archive.extractfile("clockwork.xml").read().decode("utf-8")
        lines = text.splitlines(keepends=True)
        of_installation = [f'name="{name}"' for name in self.installed]
        return "".join(
            line for line in lines if not any(name in line for name in of_installation)
        )

    def test_it_holds_all_queues_and_quotas(self):
        self.import_quotas('<quota name="Größe &lt;" size="2" />', queue='name="slow"')
        self.assertEqual(
            "<?xml version='1.0' encoding='utf-8'?>\n"
            "<clockwork>\n"
            '  <queue name="">\n'
            '    <quota name="default" size="1"/>\n'
            "  </queue>\n"
            '  <queue name="slow">\n'
            '    <quota name="Größe &lt;" size="2"/>\n'
            '    <quota name="default" size="1"/>\n'
            "  </queue>\n"
            "</clockwork>\n",
            self.export(),
        )

    def test_it_can_be_imported_again(self):
        self.import_quotas('<quota name="night" size="2" />')
        exported = self.export()
        self.assertIn("night", exported)
        self.import_quotas('<quota name="night" remove="true" />')
        self.import_text(exported)
        self.assertEqual({"default": 1, "night": 2}, self.sizes())
        self.assertEqual(exported, self.export())


class TestSeveralSites(XMLTestCase):
    def setUp(self):
        super().setUp()
        self.login_as_site_owner()
        self.other = add_site(self.layer["app"], "other")
        setSite(self.portal)
        self.addCleanup(setSite, self.portal)
        self.login_as_test_user()

    def import_into_other(self, *elements):
        setSite(self.other)
        text = f'<clockwork><queue name="">{"".join(elements)}</queue></clockwork>'
        log = self.import_text(text, self.other)
        setSite(self.portal)
        return log

    def test_what_one_imports_the_other_has(self):
        self.import_into_other('<quota name="night" size="2" />')
        self.assertEqual({"default": 1, "night": 2}, self.sizes())

    def test_the_last_import_wins(self):
        self.import_quotas('<quota name="night" size="2" />')
        self.import_into_other('<quota name="night" size="3" />')
        self.assertEqual(3, self.sizes()["night"])

    def test_a_quota_that_a_job_of_another_site_needs_stays(self):
        self.import_quotas('<quota name="night" size="2" />')
        self.service.queueJobInQueue("", ("night",), work.note, self.folder, "mine")
        log = self.import_into_other('<quota name="night" remove="true" />')
        self.assertIn("Not removed", log)
        self.assertIn("night", self.sizes())
