"""Databases for the engine's tests: real storages, several connections."""

from __future__ import annotations

from collective.clockwork.engine import dispatcher
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.interfaces import DatabaseOpened
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.subscribers import agent_installer
from collective.clockwork.engine.subscribers import multidb_queue_installer
from collective.clockwork.engine.subscribers import queue_installer
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import set_now
from collective.clockwork.engine.testing import tear_down_dispatcher
from collective.clockwork.engine.testing import tearDownDatetime
from collective.clockwork.tests.engine import looping
from collective.clockwork.tests.engine import sickwork
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine import zeoprocess
from collective.clockwork.tests.engine.moments import NOW
from collective.clockwork.tests.engine.monitoring import answer_of
from collective.clockwork.tests.engine.zeostack import Stack
from uuid import uuid4
from ZODB.FileStorage import FileStorage
from zope.component import provideHandler
from zope.component.testing import setUp as set_up_components
from zope.component.testing import tearDown as tear_down_components

import json
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
def frozen(db):
    """Stops the clock at NOW."""
    set_now(NOW)


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
def store(root):
    """Stores a job outside of queues, and returns it."""

    def add(job):
        root[f"job {len(root)}"] = job
        transaction.commit()
        return job

    return add


@pytest.fixture
def among_callbacks(store):
    """Stores a job as a process leaves it that was killed among its callbacks."""

    def leave(job):
        store(job)
        job._status, job._result = 2, 42
        transaction.commit()
        return job

    return leave


@pytest.fixture
def ask(db):
    """Gives ``asyncdb`` a command as a monitor does; returns the answer's text."""
    return lambda *words: answer_of(db, *words)


@pytest.fixture
def ask_json(ask):
    return lambda *words: json.loads(ask(*words))


@pytest.fixture
def databases(tmp_path, components):
    """The databases ``main`` and ``async``, with the default queue in the second."""
    made = {}
    for name in ("main", "async"):
        storage = FileStorage(str(tmp_path / f"{name}.fs"))
        ZODB.DB(storage, database_name=name, databases=made)
    multidb_queue_installer(DatabaseOpened(made["main"]))
    yield made
    transaction.abort()
    for database in made.values():
        database.close()


@pytest.fixture
def stack(tmp_path, components):
    """A ZEO server with the default queue and a counter; starts workers beside it."""
    stack = Stack(tmp_path, ["main"])
    try:
        queue_installer(DatabaseOpened(stack.db))
        stack.open()
        stack.root["counter"] = work.Counter()
        transaction.commit()
        yield stack
    finally:
        stack.close()


@pytest.fixture
def server(tmp_path):
    """A ZEO server that runs."""
    server = zeoprocess.Server(tmp_path, ["main"])
    server.start()
    yield server
    server.process.end()


@pytest.fixture
def zeo_db(server, components):
    """The database in that server, with the default queue."""
    database = zeoprocess.open_database(server.port, ["main"])
    queue_installer(DatabaseOpened(database))
    yield database
    transaction.abort()
    zeoprocess.close_database(database)


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


@pytest.fixture
def agents(queue):
    """Those of a worker that exists in the database only."""
    agents = queue.dispatchers.register(uuid4())
    agents["main"] = Agent(size=5)
    agents.activate("boot")
    transaction.commit()
    return agents


@pytest.fixture
def agent(agents):
    return agents["main"]


@pytest.fixture
def claimed(queue, agent):
    """Puts a job and claims it."""

    def claim(function=work.nothing, policy=sickwork.Threefold):
        job = Job(function)
        job.retry_policy_factory = policy
        queue.put(job)
        transaction.commit()
        assert agent.claimJob() is job
        transaction.commit()
        return job

    return claim


@pytest.fixture
def no_visits():
    """Forgets what loops of other tests have noted."""
    looping.visits.clear()
    looping.asked.clear()
    looping.times.clear()


@pytest.fixture
def perform(db, queue):
    """Runs a job to its end, through all of its attempts."""

    def perform(function, *args, policy=looping.Again, **kwargs):
        job = queue.put(Job(function, *args, **kwargs), retry_policy_factory=policy)
        transaction.commit()
        drain(db)
        transaction.begin()
        return job

    return perform


@pytest.fixture
def counter(root):
    root["counter"] = work.Counter()
    transaction.commit()
    return root["counter"]


@pytest.fixture
def ledger(root):
    root["ledger"] = work.Ledger()
    transaction.commit()
    return root["ledger"]


@pytest.fixture
def put(queue):
    """Queues a call, and commits."""

    def put(function=work.answer, *args, quotas=(), **options):
        job = Job(function, *args)
        job.quota_names = quotas
        queue.put(job, **options)
        transaction.commit()
        return job

    return put
