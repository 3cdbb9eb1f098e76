"""An instance that ticks when it is told to; the tests start several.

``tickinstance.py ZOPE_CONF`` starts Zope and says "ready". For each folder that it
reads it calls ``@@tick`` on the Zope root through the whole WSGI publisher, and says
the status of the answer. Within the tick it waits until another instance has come as
far, which both show by a file in that folder.
"""

from __future__ import annotations

from BTrees.OOBTree import OOBTree
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.interfaces import ITickEvent
from collective.clockwork.tests.plone.ticking import PATIENCE
from pathlib import Path
from wsgiref.util import setup_testing_defaults
from zope.component import provideHandler
from zope.globalrequest import getRequest
from Zope2.Startup.run import make_wsgi_app

import base64
import os
import sys
import transaction
import Zope2


#: Key in the root of the database: moment of an event to the process that sent it.
MOMENTS = "moments"

USER, PASSWORD = "ticker", "the-password-of-ticker"
CREDENTIALS = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class Meeting:
    """Subscriber: meets the other instance, and notes the event in the database."""

    folder: Path

    def __call__(self, event):
        (self.folder / str(os.getpid())).touch()
        wait_until(lambda: len(list(self.folder.iterdir())) == 2, "the other", PATIENCE)
        root = getRequest()["PARENTS"][-1]._p_jar.root()
        root[MOMENTS][event.date_time.timeTime()] = os.getpid()


def prepare() -> None:
    """Make what the database needs, if it is not there."""
    app = Zope2.app()
    root = app._p_jar.root()
    if MOMENTS not in root:
        root[MOMENTS] = OOBTree()
        app.acl_users._doAddUser(USER, PASSWORD, ["Manager"], [])
    transaction.commit()
    app._p_jar.close()


def call_tick(publish) -> str:
    """Call the view once; the status of the answer."""
    environ = {"PATH_INFO": "/@@tick", "HTTP_AUTHORIZATION": f"Basic {CREDENTIALS}"}
    setup_testing_defaults(environ)
    statuses = []
    answer = publish(environ, lambda status, *rest: statuses.append(status))
    b"".join(answer)
    return statuses[-1]


def main(zope_conf: str) -> None:
    publish = make_wsgi_app({}, zope_conf)
    prepare()
    meeting = Meeting()
    provideHandler(meeting, (ITickEvent,))
    print("ready", flush=True)
    for line in sys.stdin:
        meeting.folder = Path(line.strip())
        # Then it has heard of all that was committed before.
        Zope2.DB.storage.ping()
        print(call_tick(publish), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
