"""Adding handlers and removing them, and those that go by themselves."""

from __future__ import annotations

from collective.clockwork.eventdispatcher import EventDispatcher
from collective.clockwork.eventdispatcher import IBackgroundUtility
from collective.clockwork.eventdispatcher import IEventDispatcher
from functools import partial
from zope.interface.verify import verifyObject

import gc
import pytest
import threading
import weakref


class Listener:
    def __init__(self, calls):
        self.calls = calls

    def hear(self, event):
        self.calls.append(event)

    @classmethod
    def hear_for_the_class(cls, event):
        heard_by_the_class.append(event)


class Slotted:
    __slots__ = ()

    def hear(self, event):
        raise AssertionError("it cannot be added")


heard_by_the_class: list = []


def test_a_dispatcher_is_what_its_interfaces_say(dispatcher):
    assert verifyObject(IEventDispatcher, dispatcher)
    assert verifyObject(IBackgroundUtility, dispatcher)


def test_a_removed_handler_is_not_called(dispatcher, add, fire, calls, result):
    handler_id = add()
    fire(1)
    assert result(dispatcher.remove_event_handler(handler_id)) is None
    fire(2)
    assert calls == [("called", 1)]
    assert dispatcher.handler_count == 0


def test_removing_what_is_not_there_fails_with_a_message(dispatcher, add, result):
    handler_id = add()
    dispatcher.remove_event_handler(handler_id)
    for unknown in (handler_id, 12345, "x"):
        with pytest.raises(KeyError, match="no handler with the id"):
            result(dispatcher.remove_event_handler(unknown))


def test_ids_are_never_used_again(dispatcher, add):
    ids = set()
    for _ in range(50):
        ids.add(add())
        dispatcher.remove_event_handler(max(ids))
    assert len(ids) == 50


def test_a_function_that_is_added_twice_is_called_twice(dispatcher, fire, result):
    calls = []

    def handler(event):
        calls.append(event)

    first, second = (
        result(dispatcher.add_event_handler(handler, "during")) for _ in range(2)
    )
    assert first != second
    fire(1)
    dispatcher.remove_event_handler(first)
    fire(2)
    assert calls == [1, 1, 2]


def test_a_weakly_held_function_goes_with_its_last_reference(dispatcher, fire, calls):
    def handler(event):
        calls.append(event)

    dispatcher.add_event_handler(handler, "during", user="bob")
    fire(1, user="bob")
    del handler
    gc.collect()
    fire(2, user="bob")
    assert calls == [1]
    assert dispatcher.handler_count == 0
    assert dispatcher._index._top.longer == {}


def test_a_weakly_held_method_goes_with_its_object(dispatcher, fire, calls):
    listener = Listener(calls)
    dispatcher.add_event_handler(listener.hear, "during")
    gc.collect()
    fire(1)
    del listener
    gc.collect()
    fire(2)
    assert calls == [1]
    assert dispatcher.handler_count == 0


def test_a_method_of_a_class_is_called_as_long_as_there_is_the_class(dispatcher, fire):
    heard_by_the_class.clear()
    dispatcher.add_event_handler(Listener.hear_for_the_class, "during")
    gc.collect()
    fire(1)
    assert heard_by_the_class == [1]


def test_an_object_that_can_be_called_is_held_weakly_too(dispatcher, fire, calls):
    handler = partial(calls.append)
    dispatcher.add_event_handler(handler, "during")
    fire(1)
    del handler
    gc.collect()
    fire(2)
    assert calls == [1]


def test_a_handler_is_kept_without_the_weak_reference(dispatcher, fire, calls):
    dispatcher.add_event_handler(calls.append, "during", use_weakref=False)
    dispatcher.add_event_handler(lambda event: calls.append(-event), "after", False)
    gc.collect()
    fire(1)
    assert calls == [1, -1]


@pytest.mark.parametrize("what", [[].append, Slotted().hear])
def test_what_cannot_be_held_weakly_is_refused_with_the_remedy(dispatcher, what):
    with pytest.raises(TypeError, match="pass use_weakref=False"):
        dispatcher.add_event_handler(what, "during")
    assert dispatcher.handler_count == 0


def test_a_builtin_function_of_a_module_may_be_held_weakly(dispatcher, fire):
    dispatcher.add_event_handler(repr, "during")
    assert dispatcher.handler_count == 1


def test_a_lambda_that_nobody_holds_is_named_in_the_log(dispatcher, fire, caplog):
    dispatcher.add_event_handler(lambda event: None, "during")
    gc.collect()
    (record,) = caplog.records
    assert "<lambda> was gone before there was any event" in record.getMessage()
    assert "use_weakref=False" in record.getMessage()
    assert dispatcher.handler_count == 0


def test_a_handler_that_was_there_for_an_event_goes_silently(dispatcher, fire, caplog):
    def handler(event):
        raise AssertionError("not for this event")

    dispatcher.add_event_handler(handler, "during", user="bob")
    fire(user="susan")
    del handler
    gc.collect()
    assert dispatcher.handler_count == 0
    assert caplog.records == []


def test_a_handler_may_go_while_the_dispatcher_is_being_changed(dispatcher):
    handler = Listener([])
    dispatcher.add_event_handler(handler.hear, "during")
    with dispatcher._locked():
        del handler
        gc.collect()
        assert dispatcher.handler_count == 1
    assert dispatcher.handler_count == 0


def test_a_dispatcher_is_not_kept_by_its_handlers(calls):
    listener = Listener(calls)
    dispatcher = EventDispatcher(())
    dispatcher.add_event_handler(listener.hear, "during")
    reference = weakref.ref(dispatcher)
    del dispatcher
    gc.collect()
    assert reference() is None
    listener.hear(1)
    del listener
    gc.collect()
    assert calls == [1]


@pytest.mark.parametrize("times", [1, 3])
def test_a_handler_for_so_many_times_removes_itself(
    dispatcher, add, fire, calls, times
):
    add(times=times, user="bob")
    for number in range(5):
        fire(number, user="bob")
        fire(-1, user="susan")
    assert [event for _name, event in calls] == list(range(times))
    assert dispatcher.handler_count == 0


def test_a_handler_for_one_time_is_called_once_though_it_fires_the_event_again(
    dispatcher, fire, result
):
    calls = []

    def handler(event):
        calls.append(event)
        return dispatcher.fire_event("again")

    dispatcher.add_event_handler(handler, "during", times=1)
    fire("first")
    assert calls == ["first"]


def test_a_handler_for_some_times_is_called_so_often_by_several_threads(dispatcher):
    calls = []
    dispatcher.add_event_handler(calls.append, "during", False, times=100)
    barrier = threading.Barrier(4)

    def fire():
        barrier.wait()
        for number in range(50):
            dispatcher.fire_event(number)

    threads = [threading.Thread(target=fire) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 100
    assert dispatcher.handler_count == 0


@pytest.mark.parametrize("times", [0, -1])
def test_fewer_than_one_time_is_refused(dispatcher, times):
    with pytest.raises(ValueError, match="times is .*: it must be 1 or more"):
        dispatcher.add_event_handler(len, "during", times=times)


@pytest.mark.parametrize("times", [True, 1.5, "2"])
def test_times_that_are_no_number_are_refused(dispatcher, times):
    with pytest.raises(TypeError, match="times is .*: pass a whole number"):
        dispatcher.add_event_handler(len, "during", times=times)


def test_an_unknown_phase_is_refused(dispatcher):
    with pytest.raises(ValueError, match="'later': it must be one of 'before'"):
        dispatcher.add_event_handler(len, "later")


def test_what_cannot_be_called_is_refused(dispatcher):
    with pytest.raises(TypeError, match="'text', which cannot be called"):
        dispatcher.add_event_handler("text", "during")


def test_all_parameters_may_be_passed_by_keyword(dispatcher, calls, result):
    added = dispatcher.add_event_handler(
        listen_fn=calls.append, phase="during", use_weakref=False, user="bob"
    )
    result(dispatcher.fire_event(event=1, user="bob"))
    result(dispatcher.remove_event_handler(event_handler_id=result(added)))
    result(dispatcher.fire_event(event=2, user="bob"))
    assert calls == [1]


def test_a_parameter_by_position_leaves_its_name_to_the_spec(calls, result):
    names = ("self", "listen_fn", "phase", "use_weakref", "times", "event")
    dispatcher = EventDispatcher(names)
    dispatcher.start()
    spec = {name: f"a {name}" for name in names}
    dispatcher.add_event_handler(calls.append, "during", False, None, **spec)
    result(dispatcher.fire_event(1, **spec))
    result(dispatcher.fire_event(2, **{**spec, "phase": "another"}))
    assert calls == [1]


def test_times_is_part_of_the_spec_where_it_is_an_allowed_keyword(calls, result):
    dispatcher = EventDispatcher(("times",))
    dispatcher.start()
    dispatcher.add_event_handler(calls.append, "during", False, times=7)
    dispatcher.add_event_handler(calls.append, "after", False, 1, times=7)
    for event in (1, 2):
        result(dispatcher.fire_event(event, times=7))
    assert calls == [1, 1, 2]


def test_a_call_without_what_it_needs_says_what(dispatcher):
    with pytest.raises(TypeError, match="add_event_handler.. needs phase"):
        dispatcher.add_event_handler(len)
    with pytest.raises(TypeError, match="got 5 arguments by position"):
        dispatcher.add_event_handler(len, "during", True, None, "bob")
    for events in ((), (1, 2)):
        with pytest.raises(TypeError, match=f"got {len(events)} events"):
            dispatcher.fire_event(*events)


def test_keywords_can_be_added_later(dispatcher, calls, fire, result):
    dispatcher.allowed_match_spec_keywords += ("site",)
    dispatcher.add_event_handler(calls.append, "during", False, site="/Plone")
    fire(1, site="/Plone", user="bob")
    fire(2, user="bob")
    assert calls == [1]


def test_a_keyword_can_be_taken_away_that_no_handler_has(dispatcher, add, fire, calls):
    handler_id = add(user="bob", role="admin")
    with pytest.raises(ValueError, match="handlers with 'role', 'user' in their spec"):
        dispatcher.allowed_match_spec_keywords = ("event_type",)
    assert dispatcher.allowed_match_spec_keywords == ("event_type", "user", "role")
    dispatcher.remove_event_handler(handler_id)
    dispatcher.allowed_match_spec_keywords = ["user"]
    assert dispatcher.allowed_match_spec_keywords == ("user",)
    with pytest.raises(ValueError, match="'role' in the details"):
        fire(role="admin")


def test_names_that_make_no_sense_are_refused():
    with pytest.raises(TypeError, match="is the text 'user': pass a tuple"):
        EventDispatcher("user")
    with pytest.raises(TypeError, match="has 1: it must have texts only"):
        EventDispatcher((1,))
    with pytest.raises(ValueError, match="has 'user' more than once"):
        EventDispatcher(("user", "user"))
    with pytest.raises(ValueError, match="phases is empty"):
        EventDispatcher((), phases=())


def test_no_handler_is_lost_when_threads_add_and_remove_at_once(dispatcher, result):
    barrier = threading.Barrier(4)
    kept = []

    def work(name):
        barrier.wait()
        for number in range(200):
            added = dispatcher.add_event_handler(len, "during", user=(name, number % 7))
            if number % 2:
                dispatcher.remove_event_handler(result(added))
            else:
                kept.append(result(added))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(kept)) == dispatcher.handler_count == 400
    found = dispatcher._index.find({"user": ("a", 0)})
    assert len(found) == sum(1 for n in range(0, 200, 2) if n % 7 == 0)
