"""Delete many objects, each with its own check."""

from __future__ import annotations

from AccessControl.Permissions import delete_objects as DELETE
from Acquisition import aq_inner
from Acquisition import aq_parent
from collections.abc import Sequence
from collective.clockwork.tasks.report import go_through
from collective.clockwork.tasks.report import require
from collective.clockwork.tasks.report import require_unlocked
from collective.clockwork.tasks.report import Skip
from collective.clockwork.tasks.tree import ids_from
from collective.clockwork.tasks.tree import places
from collective.clockwork.tasks.tree import Tree
from plone.locking.interfaces import ILockable
from typing import Any


#: Reason for which a folder is skipped: something in it could not be deleted.
NOT_EMPTY = "not-empty"

#: Each commit writes the order of the folders, so chunks are not small.
COMMIT_EVERY = 100


def delete(
    context: Any, *, selection: Sequence[tuple] | None = None, ctx: Any
) -> dict[str, Any]:
    """Delete the selection, or the context if there is none, and all that is inside.

    The permission to delete is needed on each object and on the folder that it is in.
    So a folder stays if there is anything in it that the user may not delete, which
    Plone, when it deletes the folder at once, does not ask. ``selection`` is what
    ``places`` gives. Returns the report. ValueError if it holds the site itself.
    """
    tree = Tree(
        places([context]) if selection is None else selection,
        inside=True,
        leaves_first=True,
        wanted=_anything,
    )
    if any(not place.ids for place in tree.places):
        raise ValueError(
            "The site itself is among what is to be deleted: select objects in it"
        )
    return go_through(tree, _delete, ctx, commit_every=COMMIT_EVERY)


def _anything(obj: Any) -> bool:
    return True


def _delete(obj: Any) -> None:
    folder = aq_parent(aq_inner(obj))
    require(DELETE, obj)
    require(DELETE, folder)
    require_unlocked(obj)
    if any(True for _id in ids_from(obj)):
        raise Skip(NOT_EMPTY)
    lockable = ILockable(obj, None)
    if lockable is not None and lockable.locked():
        lockable.unlock()
    folder.manage_delObjects([obj.getId()])
