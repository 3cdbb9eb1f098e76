"""What installing the add-on does beyond its profiles' files."""

from __future__ import annotations

from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.manager.site import make_containers
from plone.base.interfaces.installable import INonInstallable
from zope.component import getUtility
from zope.interface import implementer


@implementer(INonInstallable)
class HiddenProfiles:
    """Keeps the uninstall profile out of the lists of add-ons."""

    def getNonInstallableProfiles(self) -> list[str]:
        return ["collective.clockwork:uninstall"]

    def getNonInstallableProducts(self) -> list[str]:
        return []


def prepare_queues(setup_tool) -> None:
    """Make the queues, and the manager's place, so that no user's request has to.

    Two first requests at once would both write the database's root object, and
    one of them would meet a conflict.
    """
    queues = getUtility(IAsyncService).getQueues()
    make_containers(queues._p_jar)
