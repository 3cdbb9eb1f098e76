"""Events: phases, Deferreds, coroutines, failures, start and stop."""

from __future__ import annotations

from collective.clockwork.eventdispatcher import event_details
from collective.clockwork.eventdispatcher import EventDispatcher
from twisted.internet.defer import CancelledError
from twisted.internet.defer import Deferred
from twisted.internet.defer import inlineCallbacks
from twisted.internet.defer import succeed
from twisted.logger import globalLogPublisher

import asyncio
import gc
import logging
import pytest
import threading
import weakref


@pytest.fixture
def wait(dispatcher, calls):
    """Adds a handler that returns a Deferred, and gives that."""

    def wait(phase="during", name="waits", **spec):
        deferred = Deferred()

        def handler(event):
            calls.append((name, event))
            return deferred

        dispatcher.add_event_handler(handler, phase, False, **spec)
        return deferred

    return wait


def test_phases_come_in_their_order_and_handlers_in_theirs(add, fire, calls):
    for name, phase in enumerate(("after", "during", "before", "during", "before")):
        add(name, phase)
    fire()
    assert [name for name, _event in calls] == [2, 4, 1, 3, 0]


def test_there_may_be_more_than_three_phases(calls, result):
    phases = ("check", "prepare", "do", "tell", "clean up")
    dispatcher = EventDispatcher((), phases)
    assert dispatcher.phases == phases
    dispatcher.start()
    for phase in reversed(phases):
        dispatcher.add_event_handler(lambda _event, p=phase: calls.append(p), phase, 0)
    result(dispatcher.fire_event("event"))
    assert calls == list(phases)


def test_a_phase_waits_for_all_deferreds_of_the_one_before(
    dispatcher, add, wait, calls, result
):
    first, second = wait(name="first"), wait(name="second")
    add("third")
    add("last", "after")
    fired = dispatcher.fire_event(1)
    assert calls == [("first", 1), ("second", 1), ("third", 1)]
    second.callback(None)
    assert not fired.called
    first.callback(None)
    assert calls[3:] == [("last", 1)]
    assert result(fired) is None


def test_the_value_of_a_deferred_stays_what_it_was(dispatcher, wait, result):
    deferred = wait()
    fired = dispatcher.fire_event(1)
    deferred.callback(42)
    assert result(deferred) == 42
    assert result(fired) is None


def test_a_coroutine_is_waited_for(dispatcher, add, calls, result):
    gate = Deferred()

    async def handler(event):
        calls.append(("begun", await succeed(event)))
        calls.append(("waited", await gate))

    dispatcher.add_event_handler(handler, "during")
    add("last", "after")
    fired = dispatcher.fire_event(1)
    assert calls == [("begun", 1)]
    gate.callback(2)
    assert calls == [("begun", 1), ("waited", 2), ("last", 1)]
    assert result(fired) is None


def test_a_coroutine_with_futures_of_asyncio_needs_its_loop(dispatcher, calls):
    async def handler(event):
        loop = asyncio.get_running_loop()
        task = loop.create_task(asyncio.sleep(0, "slept"))
        calls.append(await Deferred.fromFuture(task))

    dispatcher.add_event_handler(handler, "during")

    async def main():
        await dispatcher.fire_event(1).asFuture(asyncio.get_running_loop())

    asyncio.run(main())
    assert calls == ["slept"]


def test_an_async_function_that_yields_is_reported(dispatcher, fire, caplog):
    async def handler(event):
        yield event

    dispatcher.add_event_handler(handler, "during")
    fire()
    assert "an async function that yields" in caplog.text


def fail(event):
    raise LookupError("as the test asked")


async def fail_later(event):
    await succeed(None)
    raise LookupError("as the test asked")


def fail_as_deferred(event):
    return succeed(None).addCallback(fail)


@pytest.mark.parametrize("handler", [fail, fail_later, fail_as_deferred])
def test_a_failure_is_logged_with_the_name_and_others_go_on(
    dispatcher, add, fire, calls, caplog, handler
):
    dispatcher.add_event_handler(handler, "before")
    add("beside", "before")
    add("behind", "after")
    fire(1)
    assert calls == [("beside", 1), ("behind", 1)]
    (record,) = caplog.records
    assert f"{__name__}.{handler.__name__} failed in phase before" in caplog.text
    assert "LookupError: as the test asked" in caplog.text
    assert record.levelno == logging.ERROR


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_would_end_the_process_is_a_failure_like_others(
    dispatcher, add, fire, calls, caplog, kind
):
    def leave(event):
        if event == 1:
            dispatcher.fire_event(2)
            raise kind

    dispatcher.add_event_handler(leave, "before")
    add("behind", "after")
    fire(1)
    assert calls == [("behind", 1), ("behind", 2)]
    assert "leave failed in phase before" in caplog.text


def test_twisted_has_no_failure_to_complain_about(dispatcher, fire, caplog):
    complaints = []
    globalLogPublisher.addObserver(complaints.append)
    try:
        for handler in (fail, fail_later, fail_as_deferred):
            dispatcher.add_event_handler(handler, "before")
        fire(1)
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(complaints.append)
    assert len(caplog.records) == 3
    assert complaints == []


def test_on_error_hears_of_failures(result, caplog):
    heard = []
    dispatcher = EventDispatcher((), on_error=lambda *failed: heard.append(failed))
    dispatcher.start()
    dispatcher.add_event_handler(fail, "during")
    assert result(dispatcher.fire_event("event")) is None
    ((failure, listen_fn, event),) = heard
    assert failure.check(LookupError)
    assert (listen_fn, event) == (fail, "event")


def test_an_error_of_on_error_is_logged_too(dispatcher, add, fire, calls, caplog):
    def on_error(failure, listen_fn, event):
        raise RuntimeError("of on_error")

    dispatcher.on_error = on_error
    dispatcher.add_event_handler(fail, "during")
    add()
    fire(1)
    assert calls == [("called", 1)]
    assert "on_error of the event dispatcher failed" in caplog.text
    assert "RuntimeError: of on_error" in caplog.text


def test_one_call_before_the_stop_none_after_it_and_again_after_a_start(
    dispatcher, add, calls
):
    add()
    dispatcher.fire_event(1)
    dispatcher.stop()
    assert not dispatcher.running
    assert len(calls) == 1
    dispatcher.fire_event(2)
    assert len(calls) == 1
    dispatcher.start()
    assert dispatcher.running
    assert len(calls) == 1
    dispatcher.fire_event(3)
    assert calls == [("called", 1), ("called", 3)]


def test_it_is_made_stopped_and_says_that_events_are_dropped(calls, result, caplog):
    dispatcher = EventDispatcher(())
    assert not dispatcher.running
    dispatcher.add_event_handler(calls.append, "during", False)
    assert result(dispatcher.fire_event("event")) is None
    assert calls == []
    assert "event of type str is dropped" in caplog.text


def test_start_returns_none_and_may_be_called_again(dispatcher):
    assert dispatcher.start() is None
    assert dispatcher.running


def test_stop_waits_for_what_is_under_way_and_drops_what_waits(
    dispatcher, add, wait, calls, result
):
    gate = wait()
    add("last", "after")
    first, second = dispatcher.fire_event(1), dispatcher.fire_event(2)
    stopped = dispatcher.stop()
    assert not stopped.called
    gate.callback(None)
    assert calls == [("waits", 1), ("last", 1)]
    assert [result(each) for each in (first, second, stopped)] == [None] * 3


def test_stop_is_done_at_once_with_nothing_under_way(dispatcher, result):
    assert result(dispatcher.stop()) is None
    assert result(dispatcher.stop()) is None


def test_events_come_one_after_another(dispatcher, wait, calls, result):
    gate = wait(user="bob")
    first = dispatcher.fire_event(1, user="bob")
    dispatcher.add_event_handler(calls.append, "during", False)
    second, third = dispatcher.fire_event(2), dispatcher.fire_event(3)
    assert calls == [("waits", 1)]
    gate.callback(None)
    assert calls == [("waits", 1), 2, 3]
    assert [result(each) for each in (first, second, third)] == [None] * 3


def test_an_event_whose_deferred_was_cancelled_is_handled_and_blocks_no_other(
    dispatcher, add, wait, calls, result
):
    gate = wait(user="bob")
    add("last", "after")
    first = dispatcher.fire_event(1, user="bob")
    first.cancel()
    with pytest.raises(CancelledError):
        result(first)
    gate.callback(None)
    result(dispatcher.fire_event(2))
    assert calls == [("waits", 1), ("last", 1), ("last", 2)]


def test_a_handler_that_is_removed_is_not_called_in_a_later_phase(
    dispatcher, add, fire, calls
):
    handler_id = add("later", "after")
    dispatcher.add_event_handler(
        lambda _event: dispatcher.remove_event_handler(handler_id), "before", False
    )
    fire()
    assert calls == []


def test_a_handler_may_wait_for_what_it_adds_and_removes(
    dispatcher, add, fire, calls, result
):
    async def handler(event):
        handler_id = await dispatcher.add_event_handler(calls.append, "during", False)
        await dispatcher.remove_event_handler(handler_id)
        await dispatcher.add_event_handler(calls.append, "during", False)

    dispatcher.add_event_handler(handler, "during", times=1)
    fire(1)
    assert calls == []
    fire(2)
    assert calls == [2]


def test_an_event_that_a_handler_fires_comes_after_its_own(
    dispatcher, add, calls, result
):
    fired = []

    def handler(event):
        fired.append(dispatcher.fire_event("second", user="susan"))
        calls.append("fired")

    dispatcher.add_event_handler(handler, "before", user="bob")
    add("last", "after")
    result(dispatcher.fire_event("first", user="bob"))
    assert calls == ["fired", ("last", "first"), ("last", "second")]
    assert result(fired[0]) is None


def by_coroutine(dispatcher, calls):
    async def handler(event):
        await dispatcher.fire_event("second", user="susan")
        calls.append("waited")

    return handler


def by_inline_callbacks(dispatcher, calls):
    @inlineCallbacks
    def handler(event):
        yield dispatcher.fire_event("second", user="susan")
        calls.append("waited")

    return handler


def by_deferred(dispatcher, calls):
    def handler(event):
        fired = dispatcher.fire_event("second", user="susan")
        return fired.addCallback(lambda _none: calls.append("waited"))

    return handler


def by_another_dispatcher(dispatcher, calls):
    other = EventDispatcher(())
    other.start()

    async def between(event):
        await dispatcher.fire_event("second", user="susan")

    async def handler(event):
        await other.fire_event("between")
        calls.append("waited")

    other.add_event_handler(between, "during", False)
    return handler


def after_another_wait(dispatcher, calls):
    async def handler(event):
        gate = Deferred()
        gates.append(gate)
        await gate
        await dispatcher.fire_event("second", user="susan")
        calls.append("waited")

    return handler


gates: list[Deferred] = []


@pytest.mark.parametrize(
    "make",
    [
        by_coroutine,
        by_inline_callbacks,
        by_deferred,
        by_another_dispatcher,
        after_another_wait,
    ],
)
def test_a_handler_may_wait_for_an_event_that_it_fires(
    dispatcher, add, calls, result, make
):
    gates.clear()
    handler = make(dispatcher, calls)
    dispatcher.add_event_handler(handler, "before", user="bob")
    add("last", "after")
    fired = dispatcher.fire_event("first", user="bob")
    for gate in gates:
        gate.callback(None)
    assert calls == [("last", "second"), "waited", ("last", "first")]
    assert result(fired) is None


def test_a_handler_may_wait_for_the_stop(dispatcher, add, calls, result):
    async def handler(event):
        await dispatcher.stop()
        calls.append("stopped")

    dispatcher.add_event_handler(handler, "before")
    add("last", "after")
    result(dispatcher.fire_event(1))
    assert calls == ["stopped", ("last", 1)]
    assert not dispatcher.running


def test_events_that_fire_each_other_keep_nothing_of_those_before(dispatcher, result):
    class Event:
        """Something that can be held weakly."""

    seen = []
    alive = []

    def handler(event):
        seen.append(weakref.ref(event))
        if len(seen) < 50:
            dispatcher.fire_event(Event())
        else:
            gc.collect()
            alive.extend(each for each in seen if each() is not None)

    dispatcher.add_event_handler(handler, "during")
    result(dispatcher.fire_event(Event()))
    assert len(seen) == 50
    assert 1 <= len(alive) <= 3


def test_a_handler_can_ask_for_the_details(dispatcher, calls, fire):
    async def handler(event):
        await succeed(None)
        calls.append(dict(event_details()))

    dispatcher.add_event_handler(handler, "during")
    fire(user="bob", role=None)
    assert calls == [{"user": "bob"}]
    with pytest.raises(LookupError, match="No handler"):
        event_details()


def test_a_thread_does_not_wait_for_the_event_of_another_one(dispatcher, result):
    begun, go_on = threading.Event(), threading.Event()
    threads = []

    def slow(event):
        threads.append(threading.current_thread().name)
        begun.set()
        assert go_on.wait(60)

    def quick(event):
        threads.append(threading.current_thread().name)

    dispatcher.add_event_handler(slow, "during", user="bob")
    dispatcher.add_event_handler(quick, "during", user="susan")
    other = threading.Thread(
        target=dispatcher.fire_event, args=(1,), kwargs={"user": "bob"}, name="slow"
    )
    other.start()
    assert begun.wait(60)
    result(dispatcher.fire_event(2, user="susan"))
    stopped = dispatcher.stop()
    assert not stopped.called
    go_on.set()
    other.join(60)
    assert result(stopped) is None
    assert threads == ["slow", threading.current_thread().name]


def test_what_goes_on_in_another_thread_goes_on_with_what_waits(
    dispatcher, wait, calls, result
):
    gate = wait(user="bob")
    dispatcher.add_event_handler(calls.append, "during", False)
    fired = [dispatcher.fire_event(1, user="bob"), dispatcher.fire_event(2)]
    other = threading.Thread(target=gate.callback, args=(None,))
    other.start()
    other.join(60)
    assert calls == [("waits", 1), 1, 2]
    assert [result(each) for each in fired] == [None, None]


def test_what_happens_is_logged_for_debugging(dispatcher, add, fire, caplog):
    caplog.set_level(logging.DEBUG, "collective.clockwork.eventdispatcher")
    handler_id = add(user="bob")
    fire(user="bob")
    dispatcher.remove_event_handler(handler_id)
    messages = [record.getMessage() for record in caplog.records]
    assert [message.split()[0] for message in messages] == [
        "Handler",
        "Event",
        "Phase",
        "Handler",
    ]
