"""A dispatcher beside functional tests."""

from __future__ import annotations

from collective.clockwork.engine import dispatcher as registry
from collective.clockwork.engine import ftesting
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.subscribers import ThreadedDispatcherInstaller
from collective.clockwork.engine.testing import get_poll
from collective.clockwork.engine.testing import TearDownDispatcherError
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import work
from uuid import uuid4
from ZODB.utils import u64

import io
import logging
import pytest
import transaction


def getRootFolder():
    """For setUp, which looks for this name."""
    return getRootFolder.root


def installer():
    return ThreadedDispatcherInstaller(0.1, uuid=uuid4(), signals=True)


@pytest.fixture
def served(connection):
    """What setUp is called with, and a tearDown for tests that fail."""
    yield {"connection": connection, "dispatcher_installer": installer()}
    for event in work.gates.values():
        event.set()
    ftesting.tearDown()


def dispatcher_of(options):
    return registry.get(options["dispatcher_installer"].uuid)


def test_after_set_up_jobs_run_and_after_tear_down_nothing_is_left(served, root):
    handlers = list(logging.getLogger("collective.clockwork.engine").handlers)
    for _time in range(2):
        ftesting.setUp(**served)
        dispatcher = dispatcher_of(served)
        assert dispatcher.activated
        assert get_poll(dispatcher)
        queue = root[KEY][""]
        agents = queue.dispatchers[dispatcher.UUID]
        assert list(agents) == ["main"]
        job = queue.put(work.answer)
        transaction.commit()
        assert wait_for_result(job) == 42
        ftesting.tearDown()
        assert not dispatcher.activated
        assert dispatcher_of(served) is None
        transaction.begin()
        assert agents.activated is None
    left = logging.getLogger("collective.clockwork.engine").handlers
    assert list(left) == handlers


def test_critical_messages_are_printed_and_others_are_not(served):
    log_file = io.StringIO()
    ftesting.setUp(**served, log_file=log_file)
    logger = logging.getLogger("collective.clockwork.engine.events")
    logger.critical("the roof burns")
    logger.error("a window is open")
    assert "the roof burns" in log_file.getvalue()
    assert "a window" not in log_file.getvalue()
    ftesting.tearDown()
    logger.critical("again")
    assert "again" not in log_file.getvalue()


def test_standard_output_is_where_they_go_by_default(served, capsys):
    ftesting.setUp(**served)
    logging.getLogger("collective.clockwork.engine.events").critical("fire")
    assert "fire" in capsys.readouterr().out


def test_without_a_connection_the_root_folder_of_the_caller_is_asked(served, root):
    getRootFolder.root = root
    ftesting.setUp(dispatcher_installer=served["dispatcher_installer"], log_file=None)
    assert dispatcher_of(served).activated


def test_without_both_the_missing_thing_is_named():
    outside = {"setUp": ftesting.setUp}
    with pytest.raises(LookupError, match="no getRootFolder"):
        exec("setUp()", outside)


def test_a_job_that_goes_on_is_named_and_the_next_tear_down_completes(
    served, root, monkeypatch
):
    monkeypatch.setattr(ftesting, "GRACE", 0.1)
    ftesting.setUp(**served)
    job = root[KEY][""].put(Job(work.pass_gate, "slow"))
    transaction.commit()
    assert work.gate("slow begun").wait(6)
    expected = rf"clockwork--main-\d+ at job {u64(job._p_oid)}"
    with pytest.raises(TearDownDispatcherError, match=expected):
        ftesting.tearDown()
    dispatcher = dispatcher_of(served)
    pools = [station.pool for station in dispatcher.stations.values()]
    work.gate("slow").set()
    for pool in pools:
        wait_until(lambda p=pool: not any(t.is_alive() for t in p.threads), "the end")
    ftesting.tearDown()
    assert dispatcher_of(served) is None
