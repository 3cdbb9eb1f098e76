"""Dispatchers that start and stop with a reactor, and on signals."""

from __future__ import annotations

from collective.clockwork.engine import dispatcher as registry
from collective.clockwork.engine import local
from collective.clockwork.engine import subscribers
from collective.clockwork.engine.dispatcher import Dispatcher
from collective.clockwork.engine.interfaces import DatabaseOpened
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.reactors import stop_with_reactor
from collective.clockwork.engine.subscribers import restore_signal_handlers
from collective.clockwork.engine.subscribers import signal_handlers
from collective.clockwork.engine.subscribers import ThreadedDispatcherInstaller
from collective.clockwork.engine.subscribers import TwistedDispatcherInstaller
from collective.clockwork.engine.testing import tear_down_dispatcher
from collective.clockwork.engine.testing import TearDownDispatcherError
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.codeblocks import named_blocks
from collective.clockwork.tests.engine import deferring
from collective.clockwork.tests.engine.zeoprocess import output_of
from twisted.internet.selectreactor import SelectReactor
from uuid import uuid4
from zope.component import provideHandler

import os
import pytest
import signal
import sys
import threading
import transaction
import types


NEVER = 3600


@pytest.fixture
def install(db):
    """Calls an installer, and stops what it started."""
    provideHandler(subscribers.agent_installer)
    started = []

    def call(installer):
        dispatcher = installer(DatabaseOpened(db))
        started.append(dispatcher)
        return dispatcher

    yield call
    for dispatcher in started:
        restore_signal_handlers(dispatcher)
        registry.pop(dispatcher.UUID)
        tear_down_dispatcher(dispatcher)


def with_reactor():
    return ThreadedDispatcherInstaller(NEVER, SelectReactor, uuid4())


class FakeReactor:
    """Runs when the test says so."""

    running = False

    def __init__(self):
        self.started = []
        self.stopping = []

    def callWhenRunning(self, function):
        self.started.append(function)

    def addSystemEventTrigger(self, phase, event, function, *args):
        assert (phase, event) == ("before", "shutdown")
        self.stopping.append((function, args))

    def callFromThread(self, function, *args):
        function(*args)


# With a reactor


def test_a_dispatcher_begins_when_its_reactor_runs_and_stops_before_that_ends(
    db, queue
):
    reactor = FakeReactor()
    dispatcher = Dispatcher(db, reactor, NEVER, uuid4())
    dispatcher.activate()
    assert dispatcher.thread is None
    (start,) = reactor.started
    start()
    try:
        assert dispatcher.thread.is_alive()
        ((stop, arguments),) = reactor.stopping
        fired = threading.Event()
        stop(*arguments).addCallback(lambda result: fired.set())
        assert fired.wait(10)
        assert not dispatcher.activated
        assert not dispatcher.thread.is_alive()
    finally:
        registry.pop(dispatcher.UUID)


def test_one_that_is_deactivated_before_the_reactor_runs_never_begins(db):
    reactor = FakeReactor()
    dispatcher = Dispatcher(db, reactor, NEVER, uuid4())
    registry.pop(dispatcher.UUID)
    dispatcher.activate()
    dispatcher.deactivate()
    reactor.started[0]()
    assert dispatcher.thread is None
    assert stop_with_reactor(dispatcher) is None


def test_jobs_use_the_reactor_that_was_made_for_the_dispatcher(queue, install):
    dispatcher = install(with_reactor())
    assert isinstance(dispatcher.reactor, SelectReactor)
    job = queue.put(Job(deferring.call_later, "later"))
    transaction.commit()
    assert wait_for_result(job) == "later"


def test_the_documented_example_runs(queue, install, monkeypatch):
    example = types.ModuleType("documented")
    block = named_blocks("docs/engine.rst")["deferred.py"]
    exec(compile(block, "deferred.py", "exec"), example.__dict__)
    monkeypatch.setitem(sys.modules, "documented", example)
    install(with_reactor())
    job = queue.put(Job(example.in_a_moment, 42))
    transaction.commit()
    assert wait_for_result(job) == 42


def test_stopping_the_reactor_stops_the_dispatcher_first(queue, install):
    """In zc.async's Twisted mode the entry in the database stayed active."""
    dispatcher = install(with_reactor())
    wait_until(lambda: dispatcher.stations, "a station")
    dispatcher.reactor.callFromThread(dispatcher.reactor.stop)
    dispatcher.reactor_thread.join(10)
    assert not dispatcher.reactor_thread.is_alive()
    assert not dispatcher.activated
    transaction.begin()
    assert queue.dispatchers[dispatcher.UUID].activated is None


def test_tear_down_ends_the_reactor_too(install):
    dispatcher = install(with_reactor())
    tear_down_dispatcher(dispatcher)
    assert not dispatcher.reactor_thread.is_alive()


def test_a_reactor_that_will_not_stop_is_named(install, monkeypatch):
    dispatcher = install(with_reactor())
    with monkeypatch.context() as patched:
        patched.setattr(dispatcher.reactor, "callFromThread", lambda call: None)
        with pytest.raises(TearDownDispatcherError, match=f"reactor-{dispatcher.UUID}"):
            tear_down_dispatcher(dispatcher, grace=0.1)


POWERED_BY_TWISTED = """
import sys, transaction, ZODB
from collective.clockwork.engine import configure
from collective.clockwork.engine.interfaces import IQueue
from collective.clockwork.engine.job import Job
from collective.clockwork.tests.codeblocks import named_blocks
from collective.clockwork.tests.engine import deferring
from twisted.internet import reactor

db = ZODB.DB(None)
dispatcher = configure.start(db, poll_interval=3600, twisted=True)
assert dispatcher.reactor is reactor
connection = db.open()
job = IQueue(connection).put(Job(deferring.call_later, "done"))
job.addCallback(Job(deferring.stop_reactor))
transaction.commit()
reactor.run()
transaction.begin()
assert not dispatcher.activated
print(job.status, job.result)
"""


def test_the_installed_reactor_runs_a_job_and_stops(tmp_path):
    assert output_of(POWERED_BY_TWISTED, tmp_path) == "completed-status done\n"


# Signals


def test_signals_are_left_alone_unless_asked_for(install):
    before = signal.getsignal(signal.SIGINT)
    dispatcher = install(ThreadedDispatcherInstaller(NEVER, uuid=uuid4()))
    assert signal.getsignal(signal.SIGINT) is before
    assert id(dispatcher) not in signal_handlers


def with_signals():
    return ThreadedDispatcherInstaller(NEVER, uuid=uuid4(), signals=True)


def test_sigint_stops_the_dispatcher_and_goes_on_to_the_handler_of_before(
    queue, install
):
    dispatcher = install(with_signals())
    wait_until(lambda: dispatcher.stations, "a station")
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(6)
    assert not dispatcher.activated
    transaction.begin()
    assert queue.dispatchers[dispatcher.UUID].activated is None


def test_sigterm_stops_the_dispatcher_and_ends_the_process(install):
    dispatcher = install(with_signals())
    with pytest.raises(SystemExit):
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(6)
    assert not dispatcher.activated


def test_outside_of_the_main_thread_signals_are_refused_and_nothing_starts(db):
    installer = with_signals()
    refused = []

    def call():
        with pytest.raises(ValueError, match="in the main thread only"):
            installer(DatabaseOpened(db))
        refused.append(True)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(6)
    assert refused
    assert registry.get(installer.uuid) is None


def test_handlers_are_restored_but_for_one_that_was_replaced_since(install):
    interrupt = signal.getsignal(signal.SIGINT)
    terminate = signal.getsignal(signal.SIGTERM)
    dispatcher = install(with_signals())
    assert set(signal_handlers[id(dispatcher)]) == {signal.SIGINT, signal.SIGTERM}
    replaced = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        restore_signal_handlers(dispatcher)
        assert signal.getsignal(signal.SIGINT) is interrupt
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        assert id(dispatcher) not in signal_handlers
    finally:
        signal.signal(signal.SIGTERM, terminate)
    assert replaced is not terminate


# Attributes


def test_the_installers_defaults_are_those_of_the_field():
    assert ThreadedDispatcherInstaller().poll_interval == 5
    assert ThreadedDispatcherInstaller().reactor_factory is None
    assert TwistedDispatcherInstaller().poll_interval == 5
    assert subscribers.queue_installer.queues == ("",)
    assert subscribers.queue_installer.db_name is None
    assert subscribers.multidb_queue_installer.db_name == "async"
    assert subscribers.agent_installer.agent_name == "main"
    assert subscribers.agent_installer.size == 3


def test_outside_of_a_dispatcher_there_is_no_reactor():
    assert local.getReactor() is None
