"""Who, where and what a job is about: remembered when queued, found when run.

Everything is remembered by id, path and UID, and nothing by value: rights that the
user lost since are lost for the job too. How the found ones are made the current ones
stands in ``world``.

The lookups go by path first. An object that was moved or renamed is found by
its UID, and one that took its place at the path is never taken for it.
"""

from __future__ import annotations

from AccessControl import getSecurityManager
from AccessControl.users import nobody
from Acquisition import aq_base
from Acquisition import aq_inner
from Acquisition import aq_parent
from plone.uuid.interfaces import IUUID
from Products.CMFCore.interfaces import ISiteRoot
from Products.CMFCore.utils import getToolByName
from transaction.interfaces import TransactionError
from typing import Any
from zExceptions import BadRequest
from ZODB.POSException import POSError
from zope.component.hooks import getSite


#: Name of Zope's own database. Test layers call theirs otherwise.
MAIN_DATABASE = "main"

Path = tuple[str, ...]


def current_site() -> Any:
    """The site of the calling code, as in plone.api; LookupError without one."""
    site = getSite()
    while site is not None and not ISiteRoot.providedBy(site):
        site = aq_parent(aq_inner(site))
    if site is None:
        raise LookupError(
            "There is no current site, and a job belongs to one: call setSite(portal) "
            "of zope.component.hooks before using the service"
        )
    return site


def current_user(site: Any) -> tuple[Path, str | None]:
    """Path of the user's folder, and her id; ``((), None)`` for anonymous.

    Raises ValueError for a user whom no worker could look up again.
    """
    user = getSecurityManager().getUser()
    user_id = user.getId()
    if user_id is None:
        if "Anonymous" in user.getRoles():
            return (), None
        raise ValueError(
            f"The current user is {user.getUserName()!r}, the system or emergency "
            "user, which is in no user folder: log in as the user as whom the job is "
            "to run"
        )
    own_folder = aq_parent(aq_inner(user))
    folders = [site.acl_users, site.getPhysicalRoot().acl_users]
    if hasattr(aq_base(own_folder), "getUserById"):
        # Others may know a namesake of hers, who has other rights.
        folders = [own_folder]
    for folder in folders:
        if _user_in(folder, user_id) is not None:
            return folder.getPhysicalPath(), user_id
    raise ValueError(
        f"The current user {user_id!r} is in none of the user folders that a worker "
        "would ask: log in as a user of the site or of the Zope root"
    )


def uid_of(obj: Any) -> str | None:
    """The UID of an object; None if it has none."""
    return IUUID(obj, None)


def application(connection: Any) -> Any:
    """Zope's application, over a connection to any database of the process.

    It takes part in the transaction of that connection. LookupError if none of
    the databases has one.
    """
    databases = connection.db().databases
    for name in sorted(databases, key=lambda name: name != MAIN_DATABASE):
        root = connection.get_connection(name).root()
        if "Application" in root:
            return root["Application"]
    known = ", ".join(map(repr, databases))
    raise LookupError(f"None of the databases {known} holds a Zope application")


def find_site(app: Any, path: Path, uid: str | None) -> Any:
    """The site at this path, or wherever it was renamed to; BadRequest if gone."""
    site = _object_at(app, path)
    if _is(site, uid):
        return site
    if uid is not None:
        folder = _object_at(app, path[:-1])
        for place in (app,) if folder is None else (folder, app):
            for candidate in place.objectValues():
                if ISiteRoot.providedBy(candidate) and uid_of(candidate) == uid:
                    return candidate
    raise BadRequest(f"Portal path {'/'.join(path)} not found")


def is_site_at(app: Any, path: Path, uid: str) -> bool:
    """Whether the site of this UID is at this path; a copy of it may be elsewhere."""
    return _is(_object_at(app, path), uid)


def is_of_site(path: Path, uid: str | None, site: Any) -> bool:
    """Whether what was stored for the site of this path and UID belongs to ``site``.

    A site that was renamed since is known by its UID. A copy has the UID as well, and
    has nothing of the original as long as that is where it was.
    """
    site_path, site_uid = site.getPhysicalPath(), uid_of(site)
    if uid is None or site_uid is None:
        return path == site_path
    if uid != site_uid:
        return False
    return path == site_path or not is_site_at(site.getPhysicalRoot(), path, uid)


def find_user(app: Any, folder_path: Path, user_id: str | None) -> Any:
    """The user as she is now; BadRequest if she or her folder is gone."""
    if user_id is None:
        return nobody
    folder = _object_at(app, folder_path)
    if not hasattr(aq_base(folder), "getUserById"):
        raise BadRequest(f"Userfolder path {'/'.join(folder_path)} not found")
    user = _user_in(folder, user_id)
    if user is None:
        raise BadRequest(f"User {user_id} not found")
    return user


def find_context(site: Any, path: Path, uid: str | None) -> Any:
    """The object, also if it was moved inside the site; BadRequest if gone."""
    root = site.getPhysicalRoot()
    found = _object_at(root, path)
    if _is(found, uid):
        return found
    if uid is not None:
        catalog = getToolByName(site, "portal_catalog")
        for brain in catalog.unrestrictedSearchResults(UID=uid):
            found = _object_at(root, tuple(brain.getPath().split("/")))
            if _is(found, uid):
                return found
    raise BadRequest(f"Context path {'/'.join(path)} not found")


def rebased(path: Path, old: Path, new: Path) -> Path:
    """``path``, which may lie inside ``old``, after that was moved to ``new``."""
    return (*new, *path[len(old) :]) if path[: len(old)] == old else path


def traversed(start: Any, path: Path | str) -> Any:
    """What is at this path, perhaps acquired; None if nothing is.

    ``unrestrictedTraverse`` with a default takes a storage that is away, and a record
    that cannot be read, for nothing there; here they raise what they raise.
    """
    try:
        return start.unrestrictedTraverse(path)
    except (TransactionError, POSError):
        raise
    except Exception:
        # Traversal runs the code of whatever lies on the way.
        return None


def _object_at(app: Any, path: Path) -> Any:
    """What is at exactly this path; None if nothing is, or it was acquired."""
    found = traversed(app, path)
    if found is None or not hasattr(aq_base(found), "getPhysicalPath"):
        return None
    return found if found.getPhysicalPath() == path else None


def _is(obj: Any, uid: str | None) -> bool:
    """Whether this is the object that was remembered; without UID its path decides."""
    return obj is not None and (uid is None or uid_of(obj) == uid)


def _user_in(folder: Any, user_id: str) -> Any:
    """A user by id, wrapped in her folder; None if this folder doesn't know her.

    A folder answers with the emergency user for his name: he has no id.
    """
    user = folder.getUserById(user_id)
    if user is None or user.getId() != user_id:
        return None
    return user if aq_parent(user) is not None else user.__of__(folder)
