"""The objects keep the promises of their interfaces; the statuses are texts."""

from __future__ import annotations

from collective.clockwork.engine import interfaces
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.completed import Completed
from collective.clockwork.engine.job import ConditionalCallbackProxy
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.job import NeverRetry
from collective.clockwork.engine.job import RetryCommonForever
from collective.clockwork.engine.job import RetryCommonFourTimes
from collective.clockwork.engine.job import SuccessFailureCallbackProxy
from collective.clockwork.engine.presence import DispatcherAgents
from collective.clockwork.engine.queue import Dispatchers
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.queue import Queues
from collective.clockwork.engine.queue import Quota
from collective.clockwork.engine.queue import Quotas
from collective.clockwork.tests.engine import work
from uuid import uuid4
from zope.i18nmessageid import Message
from zope.interface.verify import verifyClass
from zope.interface.verify import verifyObject

import pytest


@pytest.mark.parametrize(
    "interface, made",
    [
        (interfaces.IJob, lambda: Job(work.answer)),
        (interfaces.IJob, lambda: work.OwnWork()),
        (interfaces.ICallbackProxy, lambda: SuccessFailureCallbackProxy(None, None)),
        (interfaces.ICallbackProxy, lambda: ConditionalCallbackProxy()),
        (interfaces.IRetryPolicy, RetryCommonFourTimes),
        (interfaces.IRetryPolicy, RetryCommonForever),
        (interfaces.IRetryPolicy, NeverRetry),
        (interfaces.IQueue, Queue),
        (interfaces.IQueues, Queues),
        (interfaces.IQuota, lambda: Quota("one")),
        (interfaces.IQuotas, Quotas),
        (interfaces.IDispatchers, Dispatchers),
        (interfaces.IDispatcherAgents, lambda: DispatcherAgents(uuid4())),
        (interfaces.IAgent, Agent),
        (interfaces.IFilterAgent, lambda: Agent(filter=work.mirrors)),
        (interfaces.ICompletedCollection, Completed),
    ],
)
def test_objects_provide_their_interface(interface, made):
    assert verifyObject(interface, made())


@pytest.mark.parametrize(
    "event",
    [
        "DispatcherRegistered",
        "DispatcherUnregistered",
        "DispatcherActivated",
        "DispatcherReactivated",
        "DispatcherDeactivated",
    ],
)
def test_events_of_a_dispatcher_name_it(event):
    made = getattr(interfaces, event)("the agents")
    assert made.object == "the agents"
    assert interfaces.IDispatcherEvent.providedBy(made)
    assert getattr(interfaces, f"I{event}").providedBy(made)


def test_an_added_object_is_named_with_its_place():
    event = interfaces.ObjectAdded("queue", "parent", "name")
    assert (event.object, event.parent, event.name) == ("queue", "parent", "name")
    assert interfaces.IObjectAdded.providedBy(event)


def test_an_opened_database_is_an_event():
    assert verifyClass(interfaces.IDatabaseOpenedEvent, interfaces.DatabaseOpened, True)
    assert interfaces.DatabaseOpened("db").database == "db"


@pytest.mark.parametrize(
    "status, identifier",
    [
        ("NEW", "new-status"),
        ("PENDING", "pending-status"),
        ("ASSIGNED", "assigned-status"),
        ("ACTIVE", "active-status"),
        ("CALLBACKS", "callback-status"),
        ("COMPLETED", "completed-status"),
    ],
)
def test_statuses_are_texts_that_can_be_translated(status, identifier):
    message = getattr(interfaces, status)
    assert message == identifier
    assert isinstance(message, Message)
    assert message.domain == "collective.clockwork"
    assert message.default


def test_the_engine_s_timeout_error_is_no_builtin():
    assert interfaces.TimeoutError is not TimeoutError
    assert not issubclass(interfaces.TimeoutError, OSError)
