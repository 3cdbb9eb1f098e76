"""What the tests of the tasks share: a small site, and an editor of a part of it."""

from __future__ import annotations

from collective.clockwork.tasks import offer
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from plone import api
from plone.app.testing import login
from plone.app.textfield.value import RichTextValue
from plone.dexterity.content import Item
from plone.locking.interfaces import ILockable
from Products.CMFCore.indexing import processQueue

import transaction


EDITOR = "edith"
PASSWORD = "secret-enough-1"


class TaskTestCase(ServiceTestCase):
    """A folder with three pages and a folder; Edith edits all of it.

    ::

        news/
            a, b, c        pages
            old/
                d          page
    """

    def setUp(self):
        super().setUp()
        self.login_as_site_owner()
        self.news = api.content.create(self.portal, "Folder", "news")
        for name in "abc":
            api.content.create(self.news, "Document", name, title=f"Page {name}")
        self.old = api.content.create(self.news, "Folder", "old")
        api.content.create(self.old, "Document", "d", title="Page d")
        api.user.create("edith@example.org", EDITOR, PASSWORD)
        roles = ["Reader", "Contributor", "Editor", "Reviewer"]
        self.news.manage_setLocalRoles(EDITOR, roles)
        self.news.reindexObjectSecurity()
        transaction.commit()
        login(self.portal, EDITOR)

    def run_task(self, name, context=None, **arguments):
        """Queue the task, have it run, and return its report."""
        return self.run_job(self.start(name, context, **arguments))

    def start(self, name, context=None, **arguments):
        context = self.news if context is None else context
        return offer.start(offer.TASKS[name], context, **arguments)

    def keep_from_edith(self, obj, *permissions):
        """Take the permissions on this object from all but managers."""
        for permission in permissions:
            obj.manage_permission(permission, ["Manager"], acquire=0)
        obj.reindexObjectSecurity()
        transaction.commit()

    def leave_edith_only(self, obj, *roles):
        """Let her have no other roles on this object than these."""
        obj.__ac_local_roles_block__ = True
        if roles:
            obj.manage_setLocalRoles(EDITOR, roles)
        obj.reindexObjectSecurity()
        transaction.commit()

    def lock(self, obj, user):
        """Have the object locked by this user, as her edit form does."""
        with api.env.adopt_user(username=user):
            ILockable(obj).lock()
        transaction.commit()

    def write(self, page, text):
        page.text = RichTextValue(text, "text/html", "text/x-html-safe")
        transaction.commit()

    def catalog_comment(self, page):
        """Give the catalog an entry as plone.app.discussion makes it for a comment."""
        comment = Item("1", portal_type="Discussion Item").__of__(page)
        path = "/".join([*page.getPhysicalPath(), "++conversation++default", "1"])
        api.portal.get_tool("portal_catalog").catalog_object(comment, path)
        transaction.commit()

    def states(self, *paths):
        processQueue()
        return [
            api.content.get_state(self.portal.unrestrictedTraverse(path))
            for path in paths
        ]

    def found(self, **query):
        """Paths below the site that the catalog finds, seen by nobody special."""
        catalog = api.portal.get_tool("portal_catalog")
        size = len("/".join(self.portal.getPhysicalPath()))
        brains = catalog.unrestrictedSearchResults(**query)
        return sorted(brain.getPath()[size:] for brain in brains)
