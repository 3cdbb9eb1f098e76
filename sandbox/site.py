"""Makes the Plone site and its users; runs once per start, in a process of its own.

``python -m sandbox.site path/to/zope.conf`` reads the users' passwords from its
standard input (a JSON object of user id to password), creates what is missing and
sets the passwords of what is there.
"""

from __future__ import annotations

from AccessControl.SecurityManagement import newSecurityManager
from AccessControl.users import system
from plone import api
from plone.app.theming.interfaces import IThemeSettings
from Products.CMFPlone.factory import addPloneSite
from sandbox import people
from Testing.makerequest import makerequest
from zope.component.hooks import setSite
from zope.globalrequest import setRequest
from Zope2.Startup.run import make_wsgi_app

import json
import logging
import sys
import transaction
import Zope2


SITE_ID = "Plone"
PROFILES = (
    "plone.app.contenttypes:default",
    "plonetheme.barceloneta:default",
    "collective.clockwork:default",
)


def set_root_user(app, password: str) -> None:
    """Make the Manager of the Zope root, or give the existing one this password."""
    acl_users = app.acl_users
    if acl_users.getUser(people.ROOT_USER) is None:
        acl_users._doAddUser(people.ROOT_USER, password, ["Manager"], [])
    else:
        # Adding the Plone site has made a pluggable user folder of the root's.
        acl_users.users.updateUserPassword(people.ROOT_USER, password)


def get_or_create_site(app):
    """The Plone site, made with the Classic UI theme and the add-on if missing."""
    if SITE_ID in app.objectIds():
        site = app[SITE_ID]
        setSite(site)
        return site
    site = addPloneSite(
        app,
        SITE_ID,
        title="collective.clockwork",
        default_language="en",
        extension_ids=PROFILES,
    )
    site.portal_workflow.setDefaultChain("simple_publication_workflow")
    # By default this address shows the site without its theme.
    api.portal.set_registry_record("hostnameBlacklist", [], interface=IThemeSettings)
    return site


def set_site_users(passwords: dict[str, str]) -> None:
    """Make the site's users, or give those that exist their new passwords."""
    for name, roles in people.ROLES.items():
        if name == people.ROOT_USER:
            continue
        user = api.user.get(username=name)
        if user is None:
            api.user.create(
                username=name,
                email=f"{name}@example.org",
                password=passwords[name],
            )
            api.user.grant_roles(username=name, roles=list(roles))
        else:
            user.setSecurityProfile(password=passwords[name])


def get_or_create_folder(site) -> None:
    """Make the folder in which the Editor may work."""
    if people.FOLDER_ID in site.objectIds():
        return
    folder = api.content.create(site, "Folder", id=people.FOLDER_ID, title="Chapters")
    api.content.transition(folder, to_state="published")
    for name, roles in people.FOLDER_ROLES.items():
        api.user.grant_roles(username=name, roles=list(roles), obj=folder)
    folder.reindexObjectSecurity()


def main(zope_conf: str, passwords: dict[str, str]) -> None:
    """Bring the site of this Zope configuration to the state described above."""
    logging.basicConfig(level=logging.INFO)
    make_wsgi_app({}, zope_conf)
    app = makerequest(Zope2.app())
    setRequest(app.REQUEST)
    newSecurityManager(None, system)
    set_root_user(app, passwords[people.ROOT_USER])
    site = get_or_create_site(app)
    set_site_users(passwords)
    get_or_create_folder(site)
    transaction.commit()
    app._p_jar.close()
    Zope2.DB.close()


if __name__ == "__main__":
    main(sys.argv[1], json.load(sys.stdin))
