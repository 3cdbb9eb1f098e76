"""The action "Run a rule in the background".

It queues a job for the event's object, as the user who caused the event. The job runs
the actions of the chosen rule; conditions are for the rule that has this action.
"""

from __future__ import annotations

from Acquisition import aq_inner
from Acquisition import aq_parent
from collections.abc import Iterator
from collective.clockwork import _
from collective.clockwork.engine import local
from collective.clockwork.interfaces import IAsyncService
from contextlib import contextmanager
from OFS.SimpleItem import SimpleItem
from plone.app.contentrules import handlers
from plone.app.contentrules.actions import ActionAddForm
from plone.app.contentrules.actions import ActionEditForm
from plone.app.contentrules.browser.formhelper import ContentRuleFormWrapper
from plone.contentrules.engine.interfaces import IRuleStorage
from plone.contentrules.rule.interfaces import IExecutable
from plone.contentrules.rule.interfaces import IRuleElementData
from Products.CMFCore.interfaces import IContentish
from Products.CMFCore.interfaces import ISiteRoot
from typing import Any
from zope import schema
from zope.component import adapter
from zope.component import getMultiAdapter
from zope.component import getUtility
from zope.component import queryUtility
from zope.interface import implementer
from zope.interface import Interface
from zope.interface import provider
from zope.interface.interfaces import IObjectEvent
from zope.interface.interfaces import ObjectEvent
from zope.lifecycleevent.interfaces import IObjectRemovedEvent
from zope.schema.interfaces import IVocabularyFactory
from zope.schema.vocabulary import SimpleVocabulary

import logging


logger = logging.getLogger("collective.clockwork")


class IRuleInBackground(IObjectEvent):
    """What the actions of a rule that is run in a job get as their event.

    ``object`` is that of the event which had the job queued.
    """


@implementer(IRuleInBackground)
class RuleInBackground(ObjectEvent):
    """See IRuleInBackground."""


class IBackgroundAction(Interface):
    """What can be set of the action."""

    rule = schema.Choice(
        title=_("Rule"),
        description=_(
            "help_rule_in_background",
            default="The actions of this rule are run by a worker, for the object that "
            "this is about. Its conditions and its trigger do not count for that.",
        ),
        vocabulary="collective.clockwork.rules",
    )


class RulesVocabulary(SimpleVocabulary):
    """Rules to choose from."""

    def __contains__(self, value: Any) -> bool:
        """Any name: a set-up file may have a rule before the one that it runs."""
        return isinstance(value, str)


@provider(IVocabularyFactory)
def rules_vocabulary(context: Any) -> RulesVocabulary:
    """The rules of the site, by their names."""
    storage = queryUtility(IRuleStorage)
    rules = [] if storage is None else storage.values()
    return RulesVocabulary(
        [
            SimpleVocabulary.createTerm(rule.__name__, rule.__name__, rule.title)
            for rule in rules
        ]
    )


@implementer(IBackgroundAction, IRuleElementData)
class BackgroundAction(SimpleItem):
    """The action as it is stored in a rule."""

    #: Name of the rule whose actions are run.
    rule = ""

    element = "collective.clockwork.actions.Background"

    @property
    def summary(self) -> str:
        storage = queryUtility(IRuleStorage)
        rule = None if storage is None else storage.get(self.rule)
        title = self.rule if rule is None else rule.title
        return _("Run the rule “${rule}” in the background", mapping={"rule": title})


@adapter(Interface, IBackgroundAction, Interface)
@implementer(IExecutable)
class BackgroundActionExecutor:
    """Queues the job."""

    def __init__(self, context: Any, element: BackgroundAction, event: Any) -> None:
        self.context = context
        self.element = element
        self.event = event

    def __call__(self) -> bool:
        """True, so that the actions behind this one are run in any case."""
        name = self.element.rule
        rule = getUtility(IRuleStorage).get(name)
        chain = _chain()
        if rule is None:
            logger.warning("There is no content rule %r to run in the background", name)
        elif name in chain:
            logger.warning(
                "Content rule %r is not run in the background, because it is what had "
                "this work done: %s",
                name,
                " > ".join(chain),
            )
        elif IObjectRemovedEvent.providedBy(self.event):
            logger.warning(
                "Content rule %r is not run in the background for an object that was "
                "removed: no worker could find it",
                name,
            )
        else:
            title = _("Content rule “${rule}”", mapping={"rule": rule.title or name})
            service = getUtility(IAsyncService).using(title=title)
            service.queueJob(run_rule, self._object(), name, chain=(*chain, name))
        return True

    def _object(self) -> Any:
        """The event's object; of an event about a user, for instance, the container."""
        obj = getattr(self.event, "object", None)
        if IContentish.providedBy(obj) or ISiteRoot.providedBy(obj):
            return obj
        return self.context


def run_rule(context: Any, name: str, chain: tuple[str, ...] = ()) -> int:
    """The job: run a rule's actions for ``context``; returns how many were run.

    None are run if rules are switched off meanwhile, or this one is. ``chain`` are the
    names of the rules that are run in this way, one having queued the other; see
    ``_chain``. LookupError if the rule is gone.
    """
    storage = getUtility(IRuleStorage)
    rule = storage.get(name)
    if rule is None:
        raise LookupError(f"There is no content rule {name!r} any more")
    if not (storage.active and rule.enabled):
        return 0
    event = RuleInBackground(context)
    container = context
    if not ISiteRoot.providedBy(context):
        container = aq_parent(aq_inner(context))
    done = 0
    with _as_a_running_rule(rule):
        for action in rule.actions:
            executable = getMultiAdapter((container, action, event), IExecutable)
            done += 1
            if not executable():
                break
    return done


@contextmanager
def _as_a_running_rule(rule: Any) -> Iterator[None]:
    """Let what the rule's actions do run other rules only if this one allows it.

    There is no public way to say that: ``handlers.execute`` runs all rules of a place.
    """
    handlers.init()
    rule_filter = handlers._status.rule_filter
    rule_filter.in_progress = True
    rule_filter.cascade = rule.cascading
    try:
        yield
    finally:
        rule_filter.reset()


def _chain() -> tuple[str, ...]:
    """Names of the rules that are being run in the background at this moment.

    None of them is run by itself once more, because that would never end.
    """
    job = local.job
    if job is None or job.callable_name != f"{__name__}.{run_rule.__name__}":
        return ()
    return tuple(job.kwargs["chain"])


class BackgroundAddForm(ActionAddForm):
    """Adds the action to a rule."""

    schema = IBackgroundAction
    label = _("Add an action that runs a rule in the background")
    description = _("Runs the actions of another rule in a background job.")
    form_name = _("Configure element")
    Type = BackgroundAction


class BackgroundAddFormView(ContentRuleFormWrapper):
    """The page around the form."""

    form = BackgroundAddForm


class BackgroundEditForm(ActionEditForm):
    """Changes the action."""

    schema = IBackgroundAction
    label = _("Edit an action that runs a rule in the background")
    description = _("Runs the actions of another rule in a background job.")
    form_name = _("Configure element")


class BackgroundEditFormView(ContentRuleFormWrapper):
    """The page around the form."""

    form = BackgroundEditForm
