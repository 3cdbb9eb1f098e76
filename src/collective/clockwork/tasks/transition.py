"""Change the workflow state of many objects."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
from collective.clockwork.tasks.report import go_through
from collective.clockwork.tasks.report import require_unlocked
from collective.clockwork.tasks.report import Skip
from collective.clockwork.tasks.tree import places
from collective.clockwork.tasks.tree import Tree
from DateTime import DateTime
from Products.CMFCore.utils import getToolByName
from typing import Any


#: Reason for which an object is skipped: its state has no such transition, or not for
#: this user.
NOT_POSSIBLE = "not-possible"

#: A transition also changes the index entries of what is inside, so chunks are small.
COMMIT_EVERY = 20


def change_state(
    context: Any,
    transition: str,
    *,
    selection: Sequence[tuple] | None = None,
    inside: bool = False,
    comment: str = "",
    ctx: Any,
) -> dict[str, Any]:
    """Run the transition on the selection, or on the context if there is none.

    ``transition`` is its id, ``selection`` what ``places`` gives; with ``inside`` it is
    run on everything inside of these too, folders before what they hold. ``comment``
    goes into the workflow's history. The guards of the transition are asked for each
    object. Returns the report.
    """
    workflow = getToolByName(context, "portal_workflow")
    tree = Tree(places([context]) if selection is None else selection, inside=inside)

    def change(obj: Any) -> None:
        if transition not in transitions_of([obj]):
            raise Skip(NOT_POSSIBLE)
        require_unlocked(obj)
        # As Plone's own page of folder contents does.
        if obj.EffectiveDate() == "None":
            obj.setEffectiveDate(DateTime())
        workflow.doActionFor(obj, transition, comment=comment)
        obj.reindexObject(idxs=["effective", "effectiveRange"])

    return go_through(tree, change, ctx, commit_every=COMMIT_EVERY)


def transitions_of(objects: Iterable[Any]) -> dict[str, str]:
    """Title by id of the transitions that the user may run on any of the objects."""
    found: dict[str, str] = {}
    for obj in objects:
        workflow = getToolByName(obj, "portal_workflow")
        for transition in workflow.getTransitionsFor(obj):
            found.setdefault(transition["id"], transition["name"] or transition["id"])
    return found
