"""Who may manage schedules, as whom they run, and who may name whom."""

from __future__ import annotations

from AccessControl import getSecurityManager
from AccessControl import Unauthorized
from AccessControl.users import UnrestrictedUser
from collective.clockwork import identity
from collective.clockwork import jobrules
from collective.clockwork.identity import Path
from typing import Any
from zExceptions import BadRequest


def managed_site() -> Any:
    """The current site; Unauthorized for those who may not manage jobs there.

    LookupError without a current site.
    """
    site = identity.current_site()
    if not getSecurityManager().checkPermission(jobrules.MANAGE_JOBS, site):
        raise Unauthorized(
            "You may not see or change schedules: that takes the permission "
            f"{jobrules.MANAGE_JOBS!r}"
        )
    return site


def current(site: Any) -> tuple[Path, str]:
    """Path of the current user's folder, and her id.

    ValueError for one who could not be found again: the system and the emergency user,
    and anonymous ones.
    """
    folder, user_id = identity.current_user(site)
    if user_id is None:
        raise ValueError(
            "The current user is anonymous: pass the id of the user as whom it is to "
            "run"
        )
    return folder, user_id


def current_id(site: Any) -> str | None:
    """The current user's id; None for one who could not be found again."""
    return _current_or_none(site)[1]


def folder_of(site: Any, user_id: str) -> Path:
    """Path of the folder that has this user: the site's, or that of the Zope root.

    Of the current user it is her own. ValueError if neither folder has this user.
    """
    own_folder, own_id = _current_or_none(site)
    if own_id == user_id:
        # Another folder may have a namesake of hers.
        return own_folder
    root = site.getPhysicalRoot()
    for folder in (site.acl_users, root.acl_users):
        try:
            identity.find_user(root, folder.getPhysicalPath(), user_id)
        except BadRequest:
            continue
        return folder.getPhysicalPath()
    raise ValueError(
        f"user is {user_id!r}, and there is no such user, neither in the site nor in "
        "the Zope root"
    )


def _current_or_none(site: Any) -> tuple[Path, str | None]:
    try:
        return identity.current_user(site)
    except ValueError:
        # The system or the emergency user, or one whose folder is elsewhere.
        return (), None


def require_may_name(site: Any, folder: Path, user_id: str) -> None:
    """Raise Unauthorized if the current user may not have work done as this one.

    She may if she has all roles of that one in the site, or is a Manager there. One of
    the Zope root can be named by another one of the root alone, because she has rights
    in other sites, too. ValueError for a current user who could not be found again;
    BadRequest if there is no such user as the other one.
    """
    current_user = getSecurityManager().getUser()
    if isinstance(current_user, UnrestrictedUser):
        return
    own_folder, own_id = identity.current_user(site)
    if (own_folder, own_id) == (folder, user_id):
        return
    own_roles = set(current_user.getRolesInContext(site))
    if not _is_inside(folder, own_folder[:-1]):
        raise Unauthorized(
            f"You may not schedule work as the user {user_id!r} of the Zope root: that "
            "takes a user of the root"
        )
    user = identity.find_user(site.getPhysicalRoot(), folder, user_id)
    missing = set(user.getRolesInContext(site)) - own_roles
    if missing and "Manager" not in own_roles:
        raise Unauthorized(
            f"You may not schedule work as the user {user_id!r}, who has roles that "
            f"you don't have: {', '.join(sorted(missing))}"
        )


def may_name(site: Any, folder: Path, user_id: str) -> bool:
    """Whether who imports a set-up file may have work done as this user.

    A Manager may name one who isn't there yet, and one whom no folder knows names
    nobody. Scripts, which nobody has logged in to, may do all.
    """
    if getSecurityManager().getUser().getId() is None:
        return True
    try:
        require_may_name(site, folder, user_id)
    except (Unauthorized, ValueError):
        return False
    except BadRequest:
        return "Manager" in getSecurityManager().getUser().getRolesInContext(site)
    return True


def _is_inside(path: Path, home: Path) -> bool:
    return path[: len(home)] == home
