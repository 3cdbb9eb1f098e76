"""Databases for the engine's tests: real storages, several connections."""

from __future__ import annotations

from collective.clockwork.engine import dispatcher
from collective.clockwork.engine.interfaces import DatabaseOpened
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.subscribers import agent_installer
from collective.clockwork.engine.subscribers import queue_installer
from collective.clockwork.engine.testing import tear_down_dispatcher
from collective.clockwork.engine.testing import tearDownDatetime
from collective.clockwork.tests.engine import work
from uuid import uuid4
from ZODB.FileStorage import FileStorage
from zope.component import provideHandler
from zope.component.testing import setUp as set_up_components
from zope.component.testing import tearDown as tear_down_components

import pytest
import transaction
import ZODB


@pytest.fixture
def components():
    set_up_components()
    yield
    tear_down_components()


@pytest.fixture
def db(tmp_path, components):
    """A database in a FileStorage, with the default queue."""
    database = ZODB.DB(FileStorage(str(tmp_path / "Data.fs")), pool_size=30)
    queue_installer(DatabaseOpened(database))
    work.gates.clear()
    work.calls.clear()
    yield database
    transaction.abort()
    tearDownDatetime()
    database.close()


@pytest.fixture
def connection(db):
    """A connection of the thread's own transaction manager."""
    connection = db.open()
    yield connection
    transaction.abort()
    connection.close()


@pytest.fixture
def root(connection):
    return connection.root()


@pytest.fixture
def queue(root):
    return root[KEY][""]


@pytest.fixture
def elsewhere(db):
    """Makes further connections, each with a transaction manager of its own."""
    opened = []

    def open_connection():
        manager = transaction.TransactionManager()
        connection = db.open(manager)
        opened.append((connection, manager))
        return connection

    yield open_connection
    for connection, manager in opened:
        manager.abort()
        connection.close()


@pytest.fixture
def start_dispatcher(db):
    """Starts dispatchers with one agent each, and stops them at the end."""
    provideHandler(agent_installer)
    started = []

    def start(uuid=None, **options):
        made = dispatcher.Dispatcher(db, uuid=uuid or uuid4(), **options)
        made.activate()
        started.append(made)
        return made

    yield start
    for event in work.gates.values():
        event.set()
    for made in started:
        tear_down_dispatcher(made)
        dispatcher.pop(made.UUID)
