"""The users of the local stack. Their passwords are made anew at each start."""

from __future__ import annotations


ROOT_USER = "admin"

#: User id to roles in the whole site; the Manager lives in the Zope root.
ROLES = {
    ROOT_USER: ("Manager",),
    "siteadmin": ("Member", "Site Administrator"),
    "editor": ("Member", "Editor"),
    "reviewer": ("Member", "Reviewer"),
}

#: A folder in which the Editor may add content; in the site root she may not.
FOLDER_ID = "chapters"
FOLDER_ROLES = {"editor": ("Contributor", "Editor", "Reader")}
