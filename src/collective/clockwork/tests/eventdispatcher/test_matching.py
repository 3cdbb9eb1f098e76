"""Which events a handler is for."""

from __future__ import annotations

from collective.clockwork.eventdispatcher import EventDispatcher
from collective.clockwork.eventdispatcher.matching import Index
from hypothesis import given
from hypothesis import strategies as st

import pytest


def test_a_handler_is_called_once_with_the_event_if_all_details_match(add, fire, calls):
    add(event_type="created", user="bob", role="admin")
    event = object()
    fire(event, event_type="created", user="bob", role="admin")
    assert calls == [("called", event)]


@pytest.mark.parametrize("keyword", ["event_type", "user", "role"])
def test_a_handler_is_not_called_if_one_detail_differs(add, fire, calls, keyword):
    spec = {"event_type": "created", "user": "bob", "role": "admin"}
    add(**spec)
    fire(**{**spec, keyword: "another"})
    assert calls == []


def test_what_the_spec_does_not_name_is_free(add, fire, calls):
    add(user="bob")
    fire(1, user="bob", role="admin")
    fire(2, user="bob", event_type="deleted")
    fire(3, user="bob")
    fire(4, user="susan", role="admin")
    assert [event for _name, event in calls] == [1, 2, 3]


def test_a_detail_that_is_not_given_does_not_match_a_spec_that_names_it(
    add, fire, calls
):
    add(user="bob")
    fire(role="admin")
    fire()
    assert calls == []


def test_a_handler_without_spec_gets_every_event(add, fire, calls):
    add()
    fire(1)
    fire(2, user="bob", role="admin")
    assert [event for _name, event in calls] == [1, 2]


def test_none_says_nothing_in_a_spec_or_in_details(add, fire, calls):
    add("any", user=None)
    add("bob", user="bob")
    fire(1, user=None)
    fire(2, user="bob")
    assert calls == [("any", 1), ("any", 2), ("bob", 2)]


def test_without_keywords_there_are_handlers_of_all_events_only(calls, result):
    dispatcher = EventDispatcher(())
    dispatcher.start()
    dispatcher.add_event_handler(calls.append, "during", False)
    result(dispatcher.fire_event(1))
    assert calls == [1]
    with pytest.raises(ValueError, match="'user' .* has none at all"):
        dispatcher.add_event_handler(calls.append, "during", False, user="bob")


def test_an_unknown_keyword_in_a_spec_is_refused_at_the_call(dispatcher, calls):
    with pytest.raises(ValueError, match="'usr' in the spec .*'user', 'role'"):
        dispatcher.add_event_handler(calls.append, "during", False, usr="bob")
    assert dispatcher.handler_count == 0


def test_an_unknown_keyword_in_the_details_is_refused_at_the_call(add, dispatcher):
    add()
    with pytest.raises(ValueError, match="'usr' in the details"):
        dispatcher.fire_event("event", usr="bob")


def test_a_value_without_a_hash_is_refused_at_the_call(add, dispatcher, calls):
    with pytest.raises(TypeError, match=r"user in the spec is \['bob'\], which has no"):
        add(user=["bob"])
    with pytest.raises(TypeError, match=r"user in the details is \{\}"):
        dispatcher.fire_event("event", user={})
    assert dispatcher.handler_count == 0


def test_values_match_that_are_equal(add, fire, calls):
    add(user=1)
    add(user=("bob", 2.0))
    fire(1, user=1.0)
    fire(2, user=("bob", 2))
    assert [event for _name, event in calls] == [1, 2]


def test_looking_for_values_adds_nothing(dispatcher, add, fire):
    handler_id = add(user="bob")
    for number in range(100):
        fire(user=number, role=f"role {number}")
    top = dispatcher._index._top
    assert list(top.longer) == ["user"]
    assert list(top.longer["user"]) == ["bob"]
    dispatcher.remove_event_handler(handler_id)
    assert top.longer == {}
    assert not dispatcher._index.uses


class Uncomparable:
    def __hash__(self):
        return hash("bob")

    def __eq__(self, other):
        raise RuntimeError("cannot be compared")


def test_a_value_that_cannot_be_compared_fails_the_event_and_blocks_no_other(
    dispatcher, add, fire, calls, result
):
    add(user="bob")
    with pytest.raises(RuntimeError, match="cannot be compared"):
        result(dispatcher.fire_event("event", user=Uncomparable()))
    fire(2, user="bob")
    assert calls == [("called", 2)]


KEYWORDS = tuple("abcd")
VALUES = st.sampled_from([None, 0, 1, True, "x", ("x", 1)])
SPECS = st.dictionaries(st.sampled_from(KEYWORDS), VALUES)


@given(
    specs=st.lists(st.tuples(SPECS, st.booleans()), max_size=30),
    events=st.lists(SPECS, min_size=1, max_size=10),
)
def test_the_index_finds_what_a_look_at_each_handler_finds(specs, events):
    dispatcher = EventDispatcher(KEYWORDS)
    dispatcher.start()
    called = []
    handlers = {}
    for spec, is_removed in specs:
        ids = []

        def handler(event, ids=ids):
            called.extend(ids)

        added = dispatcher.add_event_handler(handler, "during", False, **spec)
        added.addCallback(ids.append)
        handlers[ids[0]] = {k: v for k, v in spec.items() if v is not None}
        if is_removed:
            dispatcher.remove_event_handler(ids[0])
            del handlers[ids[0]]
    for details in events:
        called.clear()
        dispatcher.fire_event("event", **details)
        said = {k: v for k, v in details.items() if v is not None}
        assert called == [
            handler_id
            for handler_id, spec in handlers.items()
            if all(k in said and said[k] == spec[k] for k in spec)
        ]
    assert dispatcher.handler_count == len(handlers)


class Counted(str):
    """A text that counts how often it is compared."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Counted.compared += 1
        return str.__eq__(self, other)


def test_a_search_looks_at_no_handler_with_another_value(dispatcher, add):
    for number in range(1000):
        add(user=Counted(f"user {number}"), role=Counted("admin"))
    Counted.compared = 0
    found = dispatcher._index.find({"user": "user 7", "role": "admin"})
    assert [each.spec for each in found] == [(("role", "admin"), ("user", "user 7"))]
    assert Counted.compared < 10


def test_an_empty_index_has_no_handlers():
    assert Index().find({"user": "bob"}) == []
