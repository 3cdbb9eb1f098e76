"""Every public name of zc.async, after its package name was replaced by ours."""

from __future__ import annotations

from collective.clockwork.tests.codeblocks import ROOT

import importlib
import pytest


PACKAGE = "collective.clockwork.engine"

#: Module to the names that are in the place where zc.async has them.
KEPT = {
    "": ["local"],
    "adapters": ["defaultQueueAdapter"],
    "agent": ["Agent", "addMainAgentActivationHandler", "chooseFirst"],
    "configure": ["base", "minimal", "start"],
    "dispatcher": [
        "AgentThreadPool",
        "Dispatcher",
        "PollInfo",
        "RUNNING",
        "STARTING",
        "STOPPED",
        "STUCK",
        "clear",
        "get",
        "getId",
        "pop",
    ],
    "ftesting": ["setUp", "tearDown"],
    "instanceuuid": ["UUID", "getUUID", "key"],
    "interfaces": [
        "ACTIVE",
        "ASSIGNED",
        "AbortedError",
        "BadStatusError",
        "CALLBACKS",
        "COMPLETED",
        "DatabaseOpened",
        "DispatcherActivated",
        "DispatcherDeactivated",
        "DispatcherReactivated",
        "DispatcherRegistered",
        "DispatcherUnregistered",
        "IAbstractJob",
        "IAgent",
        "ICallbackProxy",
        "ICompletedCollection",
        "IDatabaseOpenedEvent",
        "IDispatcherActivated",
        "IDispatcherAgents",
        "IDispatcherDeactivated",
        "IDispatcherReactivated",
        "IDispatcherRegistered",
        "IDispatcherUnregistered",
        "IDispatchers",
        "IFilterAgent",
        "IJob",
        "IObjectAdded",
        "IObjectEvent",
        "IQueue",
        "IQueues",
        "IQuota",
        "IReactor",
        "IRetryPolicy",
        "IUUID",
        "KEY",
        "NEW",
        "ObjectAdded",
        "PENDING",
        "ReassignedError",
        "TimeoutError",
    ],
    "job": [
        "ConditionalCallbackProxy",
        "Job",
        "NeverRetry",
        "RetryCommonForever",
        "RetryCommonFourTimes",
        "SuccessFailureCallbackProxy",
        "callback_retry_policy_factory",
        "isFailure",
        "parallel",
        "serial",
    ],
    "queue": [
        "DispatcherAgents",
        "Dispatchers",
        "Queue",
        "Queues",
        "Quota",
        "Quotas",
        "getDefaultQueue",
    ],
    "subscribers": [
        "AgentInstaller",
        "QueueInstaller",
        "ThreadedDispatcherInstaller",
        "TwistedDispatcherInstaller",
        "agent_installer",
        "multidb_queue_installer",
        "queue_installer",
        "restore_signal_handlers",
        "signal_handlers",
        "threaded_dispatcher_installer",
        "twisted_dispatcher_installer",
    ],
    "testing": [
        "TearDownDispatcherError",
        "get_poll",
        "print_logs",
        "setUpDatetime",
        "set_now",
        "tearDownDatetime",
        "tear_down_dispatcher",
        "time_sleep",
        "wait_for_annotation",
        "wait_for_deactivation",
        "wait_for_death",
        "wait_for_result",
        "wait_for_start",
    ],
}

#: The old place to the new one; a module of ours, unless it has another package.
MOVED = {
    "interfaces.AbstractObjectEvent": "zope.interface.interfaces.ObjectEvent",
    "utils.Base": "base.Base",
    "utils.EXPLOSIVE_ERRORS": "commit.EXPLOSIVE_ERRORS",
    "utils.SYSTEM_ERRORS": "commit.SYSTEM_ERRORS",
    "utils.dt_to_long": "polls.key_of",
    "utils.log": "commit.log",
    "utils.long_to_dt": "polls.moment_of",
    "utils.never_fail": "commit.never_fail",
    "utils.sortedmerge": "heapq.merge",
    "utils.takecount": "itertools.islice",
    "utils.tracelog": "commit.tracelog",
    "utils.try_five_times": "commit.try_five_times",
    "utils.wait_for_system_recovery": "commit.wait_for_system_recovery",
}

#: What is gone; docs/engine.rst says why.
DROPPED = [
    "interfaces.FullError",
    "interfaces.IFiniteSequence",
    "interfaces.ISizedSequence",
    "legacy",
    "partial",
    "testing.Reactor",
    "utils.Dict",
    "utils.Periodic",
    "utils.RollingMapping",
    "utils.RollingSet",
    "utils.custom_repr",
    "z3.Job",
    "z3.Participation",
]

#: What a running job imports ``local`` for.
LOCAL = [
    "getAgentName",
    "getDispatcher",
    "getJob",
    "getLiveAnnotation",
    "getQueue",
    "getReactor",
    "setLiveAnnotation",
]


def find(dotted, package=PACKAGE):
    module, _dot, name = f"{package}.{dotted}".rpartition(".")
    return getattr(importlib.import_module(module), name)


def is_found(dotted):
    try:
        find(dotted)
    except (ImportError, AttributeError):
        return False
    return True


@pytest.fixture(scope="module")
def section():
    text = (ROOT / "docs" / "engine.rst").read_text(encoding="utf-8")
    return text.partition("Names that moved\n=====")[2]


@pytest.mark.parametrize("module", sorted(KEPT))
def test_names_are_where_they_were(module, tmp_path, monkeypatch):
    monkeypatch.setenv("ZC_ASYNC_UUID", str(tmp_path / "uuid.txt"))
    prefix = f"{module}." if module else ""
    missing = [name for name in KEPT[module] if not is_found(prefix + name)]
    assert missing == []


@pytest.mark.parametrize("old", sorted(MOVED))
def test_a_name_that_moved_is_in_the_place_that_is_documented(old, section):
    new = MOVED[old]
    assert not is_found(old)
    assert is_found(new) or find(new.rpartition(".")[2], new.rpartition(".")[0])
    assert f"``{old}``" in section
    assert f"``{new}``" in section


@pytest.mark.parametrize("old", DROPPED)
def test_a_name_that_is_gone_is_documented(old, section):
    assert not is_found(old)
    assert f"``{old}``" in section


def test_local_answers_what_it_did():
    local = find("local")
    assert [name for name in LOCAL if not callable(getattr(local, name, None))] == []


def test_a_name_that_never_was_is_no_attribute_of_job():
    job = importlib.import_module(f"{PACKAGE}.job")
    with pytest.raises(AttributeError, match="no attribute 'sequential'"):
        getattr(job, "sequential")  # noqa: B009
