"""What the installers make when a database was opened, and the testing helpers."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine import configure
from collective.clockwork.engine import dispatcher as registry
from collective.clockwork.engine import local
from collective.clockwork.engine import subscribers
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.interfaces import DatabaseOpened
from collective.clockwork.engine.interfaces import IObjectAdded
from collective.clockwork.engine.interfaces import IQueue
from collective.clockwork.engine.interfaces import IUUID
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.subscribers import AgentInstaller
from collective.clockwork.engine.subscribers import QueueInstaller
from collective.clockwork.engine.subscribers import ThreadedDispatcherInstaller
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import DRAIN_UUID
from collective.clockwork.engine.testing import set_now
from collective.clockwork.engine.testing import tear_down_dispatcher
from collective.clockwork.engine.testing import tearDownDatetime
from collective.clockwork.engine.testing import TearDownDispatcherError
from collective.clockwork.engine.testing import wait_for_death
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_for_start
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import work
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from uuid import UUID
from uuid import uuid4
from ZODB.FileStorage import FileStorage
from zope.component import adapter
from zope.component import getUtility
from zope.component import provideHandler
from zope.interface.interfaces import IObjectEvent

import pytest
import subprocess
import sys
import transaction
import ZODB


@pytest.fixture
def empty_db(tmp_path, components):
    database = ZODB.DB(FileStorage(str(tmp_path / "Empty.fs")), pool_size=30)
    yield database
    transaction.abort()
    database.close()


@pytest.fixture
def added(components):
    """Events about things that were added."""
    events = []
    provideHandler(adapter(IObjectAdded)(lambda event: events.append(event)))
    return events


@pytest.fixture
def stopping():
    """Stops the dispatchers that are put into it."""
    started = []
    yield started
    for event in work.gates.values():
        event.set()
    for dispatcher in started:
        tear_down_dispatcher(dispatcher)
        registry.pop(dispatcher.UUID)


def activate(queue, uuid=None):
    """Let a dispatcher without threads begin to work for the queue."""
    agents = queue.dispatchers.register(uuid or uuid4())
    agents.activate("boot")
    return agents


# Queues


def test_the_ready_made_installers_have_the_attributes_of_zc_async():
    assert subscribers.queue_installer.queues == ("",)
    assert subscribers.queue_installer.db_name is None
    assert subscribers.multidb_queue_installer.queues == ("",)
    assert subscribers.multidb_queue_installer.db_name == "async"
    assert subscribers.threaded_dispatcher_installer.poll_interval == 5
    assert subscribers.threaded_dispatcher_installer.uuid is None
    assert subscribers.agent_installer.agent_name == "main"
    assert subscribers.agent_installer.size == 3
    assert subscribers.agent_installer.queue_names is None
    assert subscribers.agent_installer.filter is None
    assert subscribers.agent_installer.chooser is None


def test_queues_are_made_and_announced(empty_db, added):
    QueueInstaller(("", "mail"))(DatabaseOpened(empty_db))
    connection = empty_db.open()
    queues = connection.root()[KEY]
    assert sorted(queues) == ["", "mail"]
    assert [event.name for event in added] == [KEY, "", "mail"]
    assert [event.object._p_oid for event in added] == [
        queues._p_oid,
        queues[""]._p_oid,
        queues["mail"]._p_oid,
    ]
    assert added[1].parent._p_oid == queues._p_oid
    assert all(IObjectEvent.providedBy(event) for event in added)
    connection.close()


def test_queues_that_are_there_stay(db, root, queue, added):
    job = queue.put(work.answer)
    transaction.commit()
    QueueInstaller(("", "more"))(DatabaseOpened(db))
    transaction.begin()
    assert [event.name for event in added] == ["more"]
    assert list(root[KEY][""]) == [job]


def test_queues_in_another_database_are_reached_from_the_opened_one(added, databases):
    configure.base()
    main, other = databases["main"], databases["async"]
    connection = main.open()
    queues = connection.root()[KEY]
    assert queues[""]._p_jar.db() is other
    assert IQueue(connection) is IQueue(connection.root()) is queues[""]
    assert connection.get_connection("async").root()[KEY]._p_oid == queues._p_oid
    assert [event.name for event in added] == [KEY, ""]
    job = queues[""].put(work.answer)
    transaction.commit()
    assert drain(main) == 1
    transaction.begin()
    assert job.result == 42
    transaction.abort()
    connection.close()


def test_handlers_hear_of_events_in_a_process_that_imports_the_installers_alone():
    # In the process of the tests others import what delivers events.
    script = (
        "import collective.clockwork.engine.subscribers, zope.event\n"
        "print(len(zope.event.subscribers))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"


# Agents


def test_an_agent_is_added_to_a_dispatcher_that_begins_to_work(queue):
    provideHandler(AgentInstaller("main", size=7))
    agents = activate(queue)
    assert list(agents) == ["main"]
    assert agents["main"].size == 7


def test_an_agent_that_is_there_stays_as_it_is(queue):
    provideHandler(AgentInstaller("main", size=7))
    agents = queue.dispatchers.register(uuid4())
    mine = agents["main"] = Agent(size=2)
    agents.activate("boot")
    assert agents["main"] is mine
    assert mine.size == 2


def test_an_agent_may_be_for_some_queues_only(root, queue):
    provideHandler(AgentInstaller("mail", queue_names=("mail",)))
    root[KEY]["mail"] = Queue()
    assert list(activate(queue)) == []
    assert list(activate(root[KEY]["mail"])) == ["mail"]


def test_an_agent_is_made_with_the_filter_or_the_chooser_that_was_given(queue):
    provideHandler(AgentInstaller("filters", filter=work.mirror))
    provideHandler(AgentInstaller("chooses", chooser=work.mirror))
    agents = activate(queue)
    assert agents["filters"].filter is work.mirror
    assert agents["chooses"].chooser is work.mirror


def test_a_filter_together_with_a_chooser_is_refused():
    with pytest.raises(ValueError, match="a filter or a chooser, not both"):
        AgentInstaller("main", filter=work.mirror, chooser=work.mirror)


# Dispatchers


def test_the_dispatcher_installer_starts_one_that_is_found_by_its_uuid(
    db, queue, stopping
):
    provideHandler(subscribers.agent_installer)
    uuid = uuid4()
    dispatcher = ThreadedDispatcherInstaller(3600, uuid=uuid)(DatabaseOpened(db))
    stopping.append(dispatcher)
    assert registry.get(uuid) is dispatcher
    assert dispatcher.thread.is_alive()
    assert dispatcher.poll_interval == 3600
    job = queue.put(work.answer)
    transaction.commit()
    assert wait_for_result(job) == 42


def test_an_application_in_one_process_needs_one_call(empty_db, stopping):
    dispatcher = configure.start(empty_db, poll_interval=3600, agent_size=2)
    stopping.append(dispatcher)
    assert getUtility(IUUID) == dispatcher.UUID
    connection = empty_db.open()
    job = IQueue(connection.root()).put(work.answer)
    transaction.commit()
    assert wait_for_result(job) == 42
    assert job.agent.size == 2
    assert job.assignerUUID == dispatcher.UUID
    transaction.abort()
    connection.close()


# Helpers for tests


def test_what_does_not_happen_in_time_is_named():
    with pytest.raises(AssertionError, match="rain did not happen within 0.05 s"):
        wait_until(lambda: False, "rain", 0.05)


def test_a_job_that_does_not_end_in_time_is_named(queue):
    job = queue.put(work.answer)
    transaction.commit()
    with pytest.raises(AssertionError, match="completing .*work.answer"):
        wait_for_result(job, 0.05)
    with pytest.raises(AssertionError, match="starting .*work.answer"):
        wait_for_start(job, 0.05)


def test_a_job_that_holds_up_the_tear_down_is_said_to_run(db, queue, start_dispatcher):
    dispatcher = start_dispatcher(poll_interval=3600)
    queue.put(Job(work.pass_gate, "slow"))
    transaction.commit()
    assert work.gate("slow begun").wait(6)
    threads = next(iter(dispatcher.stations.values())).pool.threads
    with pytest.raises(TearDownDispatcherError, match="still running: clockwork--main"):
        tear_down_dispatcher(dispatcher, grace=0.05)
    work.gate("slow").set()
    for thread in list(threads):
        thread.join(6)
    tear_down_dispatcher(dispatcher)
    assert not dispatcher.activated


def test_a_silent_dispatcher_is_dead_after_its_interval(queue):
    agents = activate(queue)
    agents.ping_interval = timedelta(seconds=0.01)
    agents.ping_death_interval = timedelta(seconds=0.05)
    transaction.commit()
    assert not agents.dead
    wait_for_death(agents)
    agents.ping.at += 1
    transaction.commit()
    assert not agents.dead


def test_draining_runs_what_is_due_and_leaves_the_rest(db, queue):
    set_now(datetime(2030, 1, 1, tzinfo=timezone.utc))
    due = queue.put(work.answer)
    later = queue.put(work.answer, begin_after=clock.now() + timedelta(hours=1))
    transaction.commit()
    assert drain(db) == 1
    transaction.begin()
    assert due.result == 42
    assert later.status == "pending-status"
    set_now(datetime(2030, 1, 1, 2, tzinfo=timezone.utc))
    assert drain(db) == 1
    transaction.begin()
    assert later.result == 42
    assert len(queue.dispatchers[DRAIN_UUID]["main"].completed) == 2


def test_draining_may_be_for_some_queues_only(db, root, queue):
    root[KEY]["mail"] = Queue()
    here = queue.put(work.answer)
    there = root[KEY]["mail"].put(work.answer)
    transaction.commit()
    assert drain(db, queue_names=("mail",)) == 1
    transaction.begin()
    assert there.result == 42
    assert here.status == "pending-status"


def test_draining_jobs_that_queue_jobs_for_ever_ends_with_an_error(db, queue):
    queue.put(queue_oneself)
    transaction.commit()
    with pytest.raises(AssertionError, match="more than 5 jobs ran"):
        drain(db, limit=5)


def queue_oneself():
    local.getQueue().put(queue_oneself)


def test_the_clock_stands_and_goes_on():
    set_now(datetime(2030, 1, 1))
    assert clock.now() == datetime(2030, 1, 1, tzinfo=timezone.utc)
    assert clock.now_us() == clock.to_us(clock.now())
    tearDownDatetime()
    assert clock.now() < datetime.now(timezone.utc) + timedelta(seconds=1)
    assert clock.now().year != 2030


@pytest.mark.parametrize(
    "moment",
    [
        datetime.min.replace(tzinfo=timezone.utc),
        datetime(2006, 8, 10, 15, 44, 22, 211, timezone.utc),
        datetime(2006, 8, 10, 15, 44, 22, 226, timezone.utc),
        datetime.max.replace(tzinfo=timezone.utc),
    ],
)
def test_times_are_stored_without_loss(moment):
    assert clock.from_us(clock.to_us(moment)) == moment


def test_a_uuid_is_a_utility_as_it_is():
    assert IUUID.providedBy(UUID(int=1))
