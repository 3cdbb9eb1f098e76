"""Run by ``zconsole run``: makes the site, and says which clocks this process has."""

from __future__ import annotations

from collective.clockwork import clockthread
from collective.clockwork.tests.acceptance.clockaddon.recording import prepare
from Products.CMFPlone.factory import addPloneSite
from zope.globalrequest import setRequest

import transaction


def main(app) -> None:
    if "Plone" not in app:
        setRequest(app.REQUEST)
        site = addPloneSite(app, "Plone", setup_content=False)
        prepare(site)
        transaction.commit()
    print(f"clocks: {clockthread.running}")


if __name__ == "__main__":
    main(globals()["app"])
