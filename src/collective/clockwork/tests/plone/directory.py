"""A source of users that is not Plone's own, as an LDAP server would be one."""

from __future__ import annotations

from Products.PluggableAuthService.interfaces import plugins
from Products.PluggableAuthService.plugins.BasePlugin import BasePlugin
from zope.interface import implementer


#: What it answers for.
TYPES = (
    plugins.IUserEnumerationPlugin,
    plugins.IRolesPlugin,
    plugins.IGroupsPlugin,
)


@implementer(*TYPES)
class Directory(BasePlugin):
    """Knows users, each with roles and groups, by their ids."""

    meta_type = "Directory"
    id = "directory"
    #: User id to a pair of roles and groups.
    entries: dict = {}

    def list_in(self, users) -> None:
        """Have a user folder ask it."""
        for kind in TYPES:
            users.plugins.activatePlugin(kind, self.getId())

    def enumerateUsers(
        self, id=None, login=None, exact_match=False, sort_by=None, max_results=None
    ):
        """See IUserEnumerationPlugin."""
        wanted = id or login
        if wanted not in self.entries:
            return ()
        return ({"id": wanted, "login": wanted, "pluginid": self.getId()},)

    def getRolesForPrincipal(self, principal, request=None):
        """See IRolesPlugin."""
        return self.entries.get(principal.getId(), ((), ()))[0]

    def getGroupsForPrincipal(self, principal, request=None):
        """See IGroupsPlugin."""
        return self.entries.get(principal.getId(), ((), ()))[1]
