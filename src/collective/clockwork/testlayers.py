"""Test layers; other add-ons take them from ``testing``.

There are two families. On ``COLLECTIVE_CLOCKWORK_...`` nothing runs jobs by itself, and
the queues are in the site's database. On ``COLLECTIVE_CLOCKWORK_WORKER_...`` each test
has a database named ``async`` beside its main one, as in a set-up with two
databases, and a worker with threads that runs what the test commits.

The names of the second family that plone.app.async had are kept: tests of add-ons
need their imports changed and nothing else. It replaced a function of plone.testing
to get at the databases; here the layers make what they need themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from collective.clockwork.backgroundview import here
from collective.clockwork.engine import dispatcher as dispatchers
from collective.clockwork.engine import testing as engine_testing
from collective.clockwork.engine.dispatcher import Dispatcher
from collective.clockwork.engine.interfaces import IDispatcherActivated
from collective.clockwork.engine.subscribers import agent_installer
from collective.clockwork.interfaces import IAsyncDatabase
from collective.clockwork.interfaces import IQueueReady
from collective.clockwork.startup import make_queues
from collective.clockwork.subscribers import configureDispatcher
from collective.clockwork.subscribers import configureQueue
from collective.clockwork.subscribers import notifyQueueReady
from plone.app import testing as plone_testing
from plone.app.testing import applyProfile
from plone.app.testing import PLONE_FIXTURE
from plone.app.testing import PloneSandboxLayer
from plone.app.testing import setRoles
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import TEST_USER_ID
from plone.app.testing import TEST_USER_NAME
from plone.app.testing import TEST_USER_ROLES
from plone.testing import Layer
from plone.testing.zope import WSGI_SERVER_FIXTURE
from uuid import UUID
from uuid import uuid4
from ZODB.DB import DB
from ZODB.DemoStorage import DemoStorage
from zope.component import getGlobalSiteManager

import collective.clockwork
import transaction


#: Id of the folder that a test finds as ``layer["test-folder"]``.
TEST_FOLDER_ID = "test-folder"

#: A second user of the fixture's site, a Manager; the name is what she logs in with.
PLONE_MANAGER_ID = "plonemanager"
PLONE_MANAGER_NAME = "Plone_Manager"
PLONE_MANAGER_PASSWORD = "secret-of-the-manager"

#: Seconds between two looks of the tests' worker when nothing wakes it.
POLL_INTERVAL = 0.2

#: Under which the tests' worker is found in the registry of dispatchers.
_dispatcher_uuid = uuid4()

#: What a worker's ZCML registers, in its order.
HANDLERS = (
    (agent_installer, IDispatcherActivated),
    (configureDispatcher, IDispatcherActivated),
    (notifyQueueReady, IDispatcherActivated),
    (configureQueue, IQueueReady),
)


class ClockworkLayer(PloneSandboxLayer):
    """A Plone site with the add-on installed; nothing runs jobs by itself."""

    defaultBases = (PLONE_FIXTURE,)

    def setUpZope(self, app, configurationContext):
        self.loadZCML(package=collective.clockwork)
        # For good: another layer may be set up before this one is torn down.
        here.allowed = False

    def setUpPloneSite(self, portal):
        applyProfile(portal, "collective.clockwork:default")


COLLECTIVE_CLOCKWORK_FIXTURE = ClockworkLayer()

COLLECTIVE_CLOCKWORK_INTEGRATION_TESTING = plone_testing.IntegrationTesting(
    bases=(COLLECTIVE_CLOCKWORK_FIXTURE,), name="CollectiveClockwork:Integration"
)

COLLECTIVE_CLOCKWORK_FUNCTIONAL_TESTING = plone_testing.FunctionalTesting(
    bases=(COLLECTIVE_CLOCKWORK_FIXTURE,), name="CollectiveClockwork:Functional"
)


def createAsyncDB(db: DB) -> DB:
    """Make an empty database ``async`` beside this one, in memory; return ``db``.

    The new one is ``db.databases["async"]``. ValueError if there is one.
    """
    if "async" in db.databases:
        raise ValueError(f"{db.database_name!r} has a database 'async' beside it")
    DB(DemoStorage(name="async"), databases=db.databases, database_name="async")
    return db


def queue_database(db: DB) -> DB:
    """Where the queues are: the database ``async`` if there is one, else ``db``."""
    return db.databases.get("async", db)


def setUpQueue(db: DB) -> None:
    """Make the queues, and have the service use them.

    They are in the database ``async`` beside ``db`` if there is one, else in ``db``.
    """
    database = queue_database(db)
    getGlobalSiteManager().registerUtility(database, IAsyncDatabase)
    make_queues(database)


def setUpDispatcher(db: DB, uuid: UUID | None = None) -> Dispatcher:
    """Have a worker run the jobs of ``setUpQueue(db)``, until ``cleanUpDispatcher``.

    It is registered under ``uuid``, by default ``_dispatcher_uuid``. ValueError if
    there is one under it.
    """
    registry = getGlobalSiteManager()
    dispatcher = Dispatcher(
        queue_database(db), poll_interval=POLL_INTERVAL, uuid=uuid or _dispatcher_uuid
    )
    for handler, event in HANDLERS:
        registry.registerHandler(handler, [event])
    dispatcher.activate()
    return dispatcher


def cleanUpDispatcher(uuid: UUID | None = None) -> None:
    """Stop the worker of ``setUpDispatcher``; nothing happens if there is none.

    TearDownDispatcherError of the engine if a job does not end within five seconds.
    """
    dispatcher = dispatchers.get(uuid or _dispatcher_uuid)
    if dispatcher is None:
        return
    registry = getGlobalSiteManager()
    for handler, event in HANDLERS:
        registry.unregisterHandler(handler, [event])
    dispatchers.pop(dispatcher.UUID)
    engine_testing.tear_down_dispatcher(dispatcher)


class AsyncLayer(ClockworkLayer):
    """The fixture of the worker's layers: the add-on, a workflow and a Manager.

    The workflow is ``simple_publication_workflow``; the fixture of Plone has none.
    """

    def setUpPloneSite(self, portal):
        super().setUpPloneSite(portal)
        portal.portal_workflow.setDefaultChain("simple_publication_workflow")
        users = portal.acl_users
        users.source_users.addUser(
            PLONE_MANAGER_ID, PLONE_MANAGER_NAME, PLONE_MANAGER_PASSWORD
        )
        users.portal_role_manager.doAssignRoleToPrincipal(PLONE_MANAGER_ID, "Manager")


COLLECTIVE_CLOCKWORK_WORKER_FIXTURE = AsyncLayer()


class LayerMixin(Layer):
    """What a test with a worker finds in its site, and how it changes the user."""

    defaultBases = (COLLECTIVE_CLOCKWORK_WORKER_FIXTURE,)

    def testSetUp(self):
        """Have a folder that the test user owns, and commit it.

        She is a Member, as ever: outside of it she may not add anything.
        """
        portal = self["portal"]
        if TEST_FOLDER_ID not in portal:
            setRoles(portal, TEST_USER_ID, ["Manager"])
            portal.invokeFactory("Folder", TEST_FOLDER_ID, title="Test folder")
            setRoles(portal, TEST_USER_ID, TEST_USER_ROLES)
        self["test-folder"] = portal[TEST_FOLDER_ID]
        transaction.commit()

    def testTearDown(self):
        del self["test-folder"]

    def login(self, name: str = TEST_USER_NAME) -> None:
        """Be this user of the site."""
        plone_testing.login(self["portal"], name)

    def loginAsPortalOwner(self) -> None:
        """Be the Manager of the Zope root."""
        plone_testing.login(self["app"], SITE_OWNER_NAME)

    def logout(self) -> None:
        """Be anonymous."""
        plone_testing.logout()

    def setRoles(self, roles: Iterable[str], user_id: str = TEST_USER_ID) -> None:
        """Give a user of the site these roles, and no others."""
        setRoles(self["portal"], user_id, list(roles))


class FunctionalTesting(LayerMixin, plone_testing.FunctionalTesting):
    """For each test two databases, a worker, and a folder of the test user.

    Based on another layer of this class, it takes what that one has made.
    """

    def testSetUp(self):
        if self.stands_on_another:
            return
        plone_testing.FunctionalTesting.testSetUp(self)
        db = createAsyncDB(self["zodbDB"])
        setUpQueue(db)
        setUpDispatcher(db)
        LayerMixin.testSetUp(self)

    def testTearDown(self):
        if self.stands_on_another:
            return
        transaction.abort()
        cleanUpDispatcher()
        LayerMixin.testTearDown(self)
        database = queue_database(self["zodbDB"])
        getGlobalSiteManager().unregisterUtility(database, IAsyncDatabase)
        plone_testing.FunctionalTesting.testTearDown(self)
        database.close()

    @property
    def stands_on_another(self) -> bool:
        """Whether a layer below does all this for the test already."""
        below = self.baseResolutionOrder[1:]
        return any(isinstance(layer, FunctionalTesting) for layer in below)


class IntegrationTesting(FunctionalTesting):
    """The same, for the tests that call Python only.

    A worker sees nothing but what was committed, so tests commit here as well.
    """


AsyncFunctionalTesting = FunctionalTesting

COLLECTIVE_CLOCKWORK_WORKER_INTEGRATION_TESTING = IntegrationTesting(
    bases=(COLLECTIVE_CLOCKWORK_WORKER_FIXTURE,),
    name="CollectiveClockworkWorker:Integration",
)

COLLECTIVE_CLOCKWORK_WORKER_FUNCTIONAL_TESTING = FunctionalTesting(
    bases=(COLLECTIVE_CLOCKWORK_WORKER_FIXTURE,),
    name="CollectiveClockworkWorker:Functional",
)

COLLECTIVE_CLOCKWORK_WORKER_ACCEPTANCE_TESTING = FunctionalTesting(
    bases=(COLLECTIVE_CLOCKWORK_WORKER_FIXTURE, WSGI_SERVER_FIXTURE),
    name="CollectiveClockworkWorker:Acceptance",
)

PLONE_APP_ASYNC_FIXTURE = COLLECTIVE_CLOCKWORK_WORKER_FIXTURE
PLONE_APP_ASYNC_INTEGRATION_TESTING = COLLECTIVE_CLOCKWORK_WORKER_INTEGRATION_TESTING
PLONE_APP_ASYNC_FUNCTIONAL_TESTING = COLLECTIVE_CLOCKWORK_WORKER_FUNCTIONAL_TESTING
PLONE_APP_ASYNC_SELENIUM_TESTING = COLLECTIVE_CLOCKWORK_WORKER_ACCEPTANCE_TESTING


def registerAsyncLayers(layers: Layer | Iterable[Layer]) -> None:
    """Check that tests on these layers have a worker.

    plone.app.async had to be told of them. Here the classes of the layers do all,
    so this refuses those of plone.app.testing with a TypeError, before a test on
    them waits for ever. Fixtures may be among them.
    """
    for layer in (layers,) if isinstance(layers, Layer) else layers:
        kind = type(layer)
        if isinstance(layer, FunctionalTesting):
            continue
        if isinstance(layer, plone_testing.layers.PloneTestLifecycle):
            raise TypeError(
                f"The layer {layer.__name__!r} is an instance of "
                f"{kind.__module__}.{kind.__name__}, which has no worker: make it with "
                f"the {kind.__name__} of collective.clockwork.testing"
            )
