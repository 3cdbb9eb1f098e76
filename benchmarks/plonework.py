"""A real Plone job: change a page, and have the catalog index it anew.

The child process of ``plonejob``. Over ZEO, in one process: first the function in a
bare loop, one commit each, then as jobs, in turn.
"""

from __future__ import annotations

from AccessControl.SecurityManagement import newSecurityManager
from collective.clockwork.engine.dispatcher import Dispatcher
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.subscribers import agent_installer
from collective.clockwork.interfaces import IAsyncService
from plone import api
from Products.CMFPlone.factory import addPloneSite
from statistics import median
from Testing.makerequest import makerequest
from uuid import uuid4
from zope.component import getUtility
from zope.component import provideHandler
from zope.component.hooks import setSite
from zope.globalrequest import setRequest
from Zope2.Startup.run import make_wsgi_app

import json
import logging
import sys
import time
import transaction
import work
import Zope2


#: Seconds in which the jobs must be done.
PATIENCE = 120


def make_site(app):
    """A site with one page, and a Manager as the current user."""
    app.acl_users._doAddUser("admin", "unused", ["Manager"], [])
    newSecurityManager(None, app.acl_users.getUser("admin").__of__(app.acl_users))
    profiles = ("plone.app.contenttypes:default", "collective.clockwork:default")
    site = addPloneSite(app, "Plone", extension_ids=profiles)
    setSite(site)
    user = api.user.create(username="manager", email="manager@example.org")
    api.user.grant_roles(user=user, roles=["Manager"])
    users = site.acl_users
    newSecurityManager(None, users.getUserById(user.getId()).__of__(users))
    page = api.content.create(site, "Document", id="page", title="Page")
    transaction.commit()
    return page


def bare(page, count: int) -> float:
    """Calls per second in a loop."""
    begun = time.perf_counter()
    for number in range(count):
        transaction.begin()
        work.retitle(page, number)
        transaction.commit()
    return count / (time.perf_counter() - begun)


def jobs(page, count: int) -> float:
    """Jobs per second, one after another as the default quota wants it."""
    service = getUtility(IAsyncService)
    transaction.begin()
    queued = [service.queueJob(work.retitle, page, -number) for number in range(count)]
    transaction.commit()
    dispatcher = Dispatcher(page._p_jar.db(), uuid=uuid4())
    dispatcher.activate()
    try:
        deadline = time.monotonic() + PATIENCE
        queue = page._p_jar.root()[KEY][""]
        while any(job.status != "completed-status" for job in queued[-1:]):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(queue)} jobs still wait")
            time.sleep(0.1)
            transaction.begin()
    finally:
        dispatcher.deactivate()
    transaction.begin()
    wrong = [job for job in queued if job.result is not None]
    if wrong:
        raise RuntimeError(f"{len(wrong)} jobs failed: {wrong[0].result}")
    # The first ones fill the caches of their connection, as the loop's has been.
    begun, warm = queued[count // 4 - 1].active_end, count - count // 4
    return warm / (max(job.active_end for job in queued) - begun).total_seconds()


def main(zope_conf: str, count: int, rounds: int) -> None:
    """Print both speeds as one line of JSON."""
    logging.basicConfig(level=logging.ERROR)
    make_wsgi_app({}, zope_conf)
    provideHandler(agent_installer)
    app = makerequest(Zope2.app())
    setRequest(app.REQUEST)
    page = make_site(app)
    bare(page, count // 4)
    pairs = []
    for _ in range(rounds):
        before, found, after = bare(page, count), jobs(page, count), bare(page, count)
        pairs.append((found, (before + after) / 2))
    figures = {
        "plone_job_ratio": median(job / call for job, call in pairs),
        "plone_jobs_per_s": median(job for job, _call in pairs),
        "plone_calls_per_s": median(call for _job, call in pairs),
    }
    transaction.abort()
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
