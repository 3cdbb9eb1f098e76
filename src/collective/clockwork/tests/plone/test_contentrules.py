"""Content rules: rules that are run in a job, and rules that are run after a job."""

from __future__ import annotations

from collective.clockwork.contentrules import triggers
from collective.clockwork.contentrules.background import BackgroundAction
from collective.clockwork.contentrules.background import run_rule
from collective.clockwork.testing import assert_not_queued
from collective.clockwork.testing import assert_queued
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from OFS.SimpleItem import SimpleItem
from plone import api
from plone.app.contentrules import handlers
from plone.app.contentrules.api import assign_rule
from plone.app.contentrules.exportimport.rules import importRules
from plone.app.contentrules.rule import Rule
from plone.app.testing import setRoles
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import SITE_OWNER_PASSWORD
from plone.app.testing import TEST_USER_ID
from plone.contentrules.engine.interfaces import IRuleStorage
from plone.contentrules.rule.interfaces import IExecutable
from plone.contentrules.rule.interfaces import IRuleAction
from plone.contentrules.rule.interfaces import IRuleElementData
from plone.contentrules.rule.interfaces import IRuleEventType
from plone.testing.zope import Browser
from Products.GenericSetup.context import TarballImportContext
from unittest.mock import patch
from zope.component import adapter
from zope.component import getGlobalSiteManager
from zope.component import getMultiAdapter
from zope.component import getUtilitiesFor
from zope.component import getUtility
from zope.configuration import xmlconfig
from zope.event import notify
from zope.i18n import translate
from zope.interface import implementer
from zope.interface import Interface
from zope.lifecycleevent import IObjectAddedEvent
from zope.lifecycleevent import IObjectModifiedEvent
from zope.lifecycleevent import IObjectRemovedEvent
from zope.lifecycleevent import ObjectModifiedEvent

import collective.clockwork
import sys
import transaction
import zope.viewlet
import Zope2.App


ACTION = "collective.clockwork.actions.Background"


class INote(Interface):
    """An action that notes what it was run for, and may change that."""


@implementer(INote, IRuleElementData)
class Note(SimpleItem):
    element = "collective.clockwork.tests.note"
    summary = "note"
    modify = False
    goes_on = True

    def __init__(self, word="noted", **settings):
        self.word = word
        self.__dict__.update(settings)


@adapter(Interface, INote, Interface)
@implementer(IExecutable)
class NoteExecutor:
    def __init__(self, context, element, event):
        self.context, self.element, self.event = context, element, event

    def __call__(self):
        obj = self.event.object
        user_id = api.user.get_current().getId()
        place = self.context.getId()
        work.happened.append((self.element.word, obj.getId(), place, user_id))
        if self.element.modify:
            obj.title = f"{obj.title}!"
            notify(ObjectModifiedEvent(obj))
        return self.element.goes_on


class RulesTestCase(ServiceTestCase):
    def setUp(self):
        super().setUp()
        registry = getGlobalSiteManager()
        registry.registerAdapter(NoteExecutor)
        self.addCleanup(registry.unregisterAdapter, NoteExecutor)
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        self.page = api.content.create(self.folder, "Document", "page")
        transaction.commit()

    def add_rule(
        self, name, *actions, event=IObjectModifiedEvent, place=None, **set_to
    ):
        """A rule with these actions, assigned to a place and what is in it."""
        rule = Rule()
        rule.title = f"Rule {name}"
        rule.event = event
        rule.actions.extend(actions)
        vars(rule).update(set_to)
        getUtility(IRuleStorage)[name] = rule
        if place is not None:
            assign_rule(place, name)
        return rule

    def background(self, name):
        action = BackgroundAction()
        action.rule = name
        return action

    def modify(self):
        """What a user's request does."""
        notify(ObjectModifiedEvent(self.page))
        handlers.close(None)
        transaction.commit()


class TestTheAction(RulesTestCase):
    def test_it_runs_the_actions_of_the_chosen_rule_in_a_job(self):
        self.add_rule("slow", Note())
        self.add_rule("fast", self.background("slow"), place=self.folder)
        self.modify()
        self.assertEqual([], work.happened)
        job = assert_queued(run_rule, self.page)
        self.assertEqual("slow", job.args[0])
        drain()
        self.assertEqual([("noted", "page", "folder", TEST_USER_ID)], work.happened)
        self.assertEqual(1, job.result)

    def test_it_is_called_after_the_chosen_rule(self):
        self.add_rule("slow", Note())
        self.add_rule("fast", self.background("slow"), place=self.folder)
        self.modify()
        (info,) = self.service.findJobs()
        self.assertEqual("Content rule “${rule}”", info.title)
        self.assertEqual("Rule slow", info.title.mapping["rule"])

    def test_it_is_for_an_object_that_was_just_added(self):
        self.add_rule("slow", Note())
        self.add_rule(
            "fast", self.background("slow"), event=IObjectAddedEvent, place=self.folder
        )
        api.content.create(self.folder, "Document", "new")
        drain()
        self.assertEqual([("noted", "new", "folder", TEST_USER_ID)], work.happened)

    def test_it_finds_an_object_that_was_moved_meanwhile(self):
        self.add_rule("slow", Note())
        self.add_rule("fast", self.background("slow"), place=self.folder)
        self.modify()
        api.content.move(self.page, self.portal)
        drain()
        self.assertEqual([("noted", "page", "plone", TEST_USER_ID)], work.happened)

    def test_the_actions_behind_it_are_run_at_once(self):
        self.add_rule("slow", Note("later"))
        self.add_rule(
            "fast", self.background("slow"), Note("at once"), place=self.folder
        )
        self.modify()
        self.assertEqual(["at once"], [note[0] for note in work.happened])

    def test_an_action_that_ends_the_rule_ends_it_in_the_job_too(self):
        self.add_rule("slow", Note("one", goes_on=False), Note("two"))
        self.add_rule("fast", self.background("slow"), place=self.folder)
        self.modify()
        drain()
        self.assertEqual(["one"], [note[0] for note in work.happened])

    def test_for_an_event_without_content_it_is_for_the_site(self):
        self.add_rule("slow", Note())
        action = self.background("slow")
        event = ObjectModifiedEvent("a user, for instance")
        executor = getMultiAdapter((self.portal, action, event), IExecutable)
        self.assertTrue(executor())
        drain()
        self.assertEqual([("noted", "plone", "plone", TEST_USER_ID)], work.happened)

    def test_a_rule_that_is_switched_off_meanwhile_does_nothing(self):
        rule = self.add_rule("slow", Note())
        self.add_rule("fast", self.background("slow"), place=self.folder)
        self.modify()
        rule.enabled = False
        drain()
        self.assertEqual([], work.happened)

    def test_a_rule_that_is_gone_by_then_fails_the_job(self):
        self.add_rule("slow", Note())
        self.add_rule("fast", self.background("slow"), place=self.folder)
        self.modify()
        job = assert_queued(run_rule, self.page)
        del getUtility(IRuleStorage)["slow"]
        result = self.run_job(job)
        self.assertEqual(
            "There is no content rule 'slow' any more", str(result.value.args[0])
        )

    def test_a_rule_that_is_gone_already_is_logged(self):
        self.add_rule("fast", self.background("gone"), place=self.folder)
        with self.assertLogs("collective.clockwork", "WARNING") as logs:
            self.modify()
        self.assertIn("There is no content rule 'gone'", logs.output[0])
        assert_not_queued(run_rule)

    def test_for_an_object_that_was_removed_nothing_is_queued(self):
        self.add_rule("slow", Note())
        self.add_rule(
            "fast",
            self.background("slow"),
            event=IObjectRemovedEvent,
            place=self.folder,
        )
        with self.assertLogs("collective.clockwork", "WARNING"):
            api.content.delete(self.page)
        assert_not_queued(run_rule)

    def test_its_summary_names_the_rule(self):
        self.add_rule("slow", Note())
        summary = self.background("slow").summary
        self.assertEqual("Rule slow", summary.mapping["rule"])


class TestRulesThatRunRules(RulesTestCase):
    def words(self):
        return [note[0] for note in work.happened]

    def test_a_rule_that_has_itself_run_ends(self):
        self.add_rule(
            "round", Note("again"), self.background("round"), place=self.folder
        )
        self.modify()
        with self.assertLogs("collective.clockwork", "WARNING") as logs:
            drain()
        self.assertEqual(["again", "again"], self.words())
        self.assertIn("is not run in the background", logs.output[0])

    def test_what_the_actions_change_runs_no_other_rules(self):
        self.add_rule("slow", Note("slow", modify=True))
        self.add_rule("fast", self.background("slow"), place=self.folder)
        self.add_rule("other", Note("other"), place=self.portal)
        self.modify()
        drain()
        self.assertEqual(["other", "slow"], self.words())

    def test_a_cascading_rule_runs_others_and_ends(self):
        self.add_rule("slow", Note("slow", modify=True), cascading=True)
        self.add_rule("fast", self.background("slow"), place=self.folder)
        self.add_rule("other", Note("other"), place=self.portal)
        self.modify()
        drain()
        self.assertEqual(["other", "slow", "other"], self.words())

    def test_the_next_job_in_the_thread_runs_rules_as_usual(self):
        self.add_rule("slow", Note("slow"))
        self.add_rule("fast", self.background("slow"), place=self.folder)
        self.add_rule("other", Note("other"), place=self.portal)
        self.modify()
        self.service.queueJob(modify, self.page)
        drain()
        self.assertEqual(["other", "slow", "other", "slow"], self.words())


def modify(context):
    notify(ObjectModifiedEvent(context))


class TestTheTriggers(RulesTestCase):
    def add_trigger(self, event, *actions, **set_to):
        actions = actions or (Note(event.__name__),)
        self.add_rule(
            event.__name__, *actions, event=event, place=self.portal, **set_to
        )

    def add_both(self):
        self.add_trigger(triggers.IBackgroundJobDone)
        self.add_trigger(triggers.IBackgroundJobFailed)

    def test_they_are_offered(self):
        names = {name for name, _trigger in getUtilitiesFor(IRuleEventType)}
        self.assertLessEqual({"Background job done", "Background job failed"}, names)

    def test_their_titles_and_that_of_the_action_are_german_in_plones_domain(self):
        element = getUtility(IRuleAction, name=ACTION)
        german = {
            element.title: "Eine Regel im Hintergrund ausführen",
            element.description: "Führt die Aktionen einer anderen Regel im "
            "Hintergrund aus",
            "Background job done": "Hintergrundaufgabe erledigt",
            "Background job failed": "Hintergrundaufgabe fehlgeschlagen",
            "Content Rules": "Regeln",
        }
        for text, translated in german.items():
            found = translate(text, domain="plone", target_language="de")
            self.assertEqual(translated, found)

    def test_a_job_that_is_done_runs_the_rule_for_its_context(self):
        self.add_both()
        self.result_of(work.add_numbers, 1)
        note = ("IBackgroundJobDone", "folder", "plone", TEST_USER_ID)
        self.assertEqual([note], work.happened)

    def test_a_job_that_failed_runs_the_other_rule(self):
        self.add_both()
        self.result_of(work.fail)
        note = ("IBackgroundJobFailed", "folder", "plone", TEST_USER_ID)
        self.assertEqual([note], work.happened)

    def test_a_batch_is_about_the_site(self):
        self.add_trigger(triggers.IBackgroundJobDone)
        make = self.service.makeJob
        self.run_job(
            self.service.queueSerialJobs(make(work.add_numbers, self.folder, 1))
        )
        self.assertEqual(["folder", "plone"], [note[1] for note in work.happened])

    def test_a_job_whose_context_is_gone_is_about_the_site(self):
        self.add_trigger(triggers.IBackgroundJobFailed)
        self.service.queueJob(work.note, self.page, "never")
        transaction.commit()
        api.content.delete(self.page)
        drain()
        self.assertEqual(["plone"], [note[1] for note in work.happened])

    def test_without_such_a_rule_no_callback_is_stored(self):
        self.add_trigger(triggers.IBackgroundJobFailed)
        self.add_trigger(triggers.IBackgroundJobDone, enabled=False)
        job = self.service.queueJob(work.add_numbers, self.folder, 1)
        self.run_job(job)
        self.assertEqual((), job.callbacks)
        self.assertEqual([], work.happened)

    def test_while_rules_are_switched_off_none_is_run(self):
        self.add_both()
        getUtility(IRuleStorage).active = False
        self.result_of(work.add_numbers, 1)
        self.assertEqual([], work.happened)

    def test_a_rule_that_runs_a_rule_after_each_job_ends(self):
        self.add_rule("slow", Note("slow"))
        self.add_trigger(triggers.IBackgroundJobDone, self.background("slow"))
        self.result_of(work.add_numbers, 1)
        self.assertEqual(["slow"], [note[0] for note in work.happened])


class TestTheForms(RulesTestCase):
    def setUp(self):
        super().setUp()
        self.add_rule("slow", Note())
        self.add_rule("fast", place=self.folder)
        transaction.commit()
        self.browser = Browser(self.layer["app"])
        credentials = f"Basic {SITE_OWNER_NAME}:{SITE_OWNER_PASSWORD}"
        self.browser.addHeader("Authorization", credentials)
        self.rule_url = f"{self.portal.absolute_url()}/++rule++fast"

    def actions(self):
        transaction.begin()
        return getUtility(IRuleStorage)["fast"].actions

    def test_the_action_is_added_and_changed_in_the_browser(self):
        self.browser.open(f"{self.rule_url}/+action/{ACTION}")
        rule = self.browser.getControl(name="form.widgets.rule:list")
        self.assertIn("Rule slow", rule.displayOptions)
        rule.displayValue = ["Rule slow"]
        self.browser.getControl(name="form.buttons.save").click()
        (action,) = self.actions()
        self.assertEqual("slow", action.rule)
        self.add_rule("slower", Note())
        transaction.commit()
        self.browser.open(f"{self.rule_url}/++action++0/edit")
        # Plone gives each action an id on the way to its first edit, and asks.
        self.browser.getControl("Confirm action").click()
        rule = self.browser.getControl(name="form.widgets.rule:list")
        rule.displayValue = ["Rule slower"]
        self.browser.getControl(name="form.buttons.save").click()
        (action,) = self.actions()
        self.assertEqual("slower", action.rule)

    def test_an_action_whose_rule_is_gone_can_be_edited(self):
        action = self.background("gone")
        action.id = action.__name__ = "++action++0"
        self.actions().append(action)
        transaction.commit()
        self.browser.open(f"{self.rule_url}/++action++0/edit")
        rule = self.browser.getControl(name="form.widgets.rule:list")
        rule.displayValue = ["Rule slow"]
        self.browser.getControl(name="form.buttons.save").click()
        (action,) = self.actions()
        self.assertEqual("slow", action.rule)

    def test_a_set_up_file_may_have_it_before_its_rule(self):
        self.actions().append(self.background("slow"))
        del getUtility(IRuleStorage)["slow"]
        tool = self.portal.portal_setup
        archive = tool.runExportStep("contentrules")["tarball"]
        del getUtility(IRuleStorage)["fast"]
        importRules(TarballImportContext(tool, archive))
        (action,) = getUtility(IRuleStorage)["fast"].actions
        self.assertEqual("slow", action.rule)

    def test_the_rules_page_says_what_it_does(self):
        self.actions().append(self.background("slow"))
        transaction.commit()
        self.browser.open(f"{self.rule_url}/@@manage-elements")
        self.assertIn(
            "Run the rule “Rule slow” in the background", self.browser.contents
        )

    def test_the_action_is_known_for_all_events(self):
        element = getUtility(IRuleAction, name=ACTION)
        self.assertEqual((None, None), (element.for_, element.event))


class TestWithoutContentRules(RulesTestCase):
    def names_registered(self):
        """Names in what our ZCML would register; nothing is."""
        context = xmlconfig.ConfigurationMachine()
        xmlconfig.registerCommonDirectives(context)
        for package in (Zope2.App, zope.viewlet):
            xmlconfig.include(context, "meta.zcml", package)
        xmlconfig.include(context, "configure.zcml", collective.clockwork)
        return {
            part
            for action in context.actions
            for part in action["discriminator"] or ()
            if isinstance(part, str)
        }

    def test_everything_else_is_registered(self):
        everything = self.names_registered()
        self.assertIn(ACTION, everything)
        with patch.dict(sys.modules, {"plone.app.contentrules": None}):
            left = self.names_registered()
        self.assertNotIn(ACTION, left)
        self.assertIn("background-queues", left)
