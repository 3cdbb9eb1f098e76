"""What the persistent objects of the engine share."""

from __future__ import annotations

from collections.abc import MutableMapping
from collective.clockwork.engine.base import same
from collective.clockwork.engine.base import TreeMapping
from collective.clockwork.tests.engine import work

import pytest
import transaction


class Shelf(TreeMapping, MutableMapping):
    """A mapping that is changed as any other."""

    def __setitem__(self, key, value):
        self._data[key] = value

    def __delitem__(self, key):
        del self._data[key]


def test_a_tree_mapping_is_read_as_a_mapping(root):
    shelf = root["shelf"] = Shelf()
    assert not shelf and len(shelf) == 0
    shelf["b"], shelf["a"] = 2, 1
    assert shelf and len(shelf) == 2
    assert list(shelf) == list(shelf.keys()) == ["a", "b"]
    assert list(shelf.items()) == [("a", 1), ("b", 2)]
    assert shelf["a"] == shelf.get("a") == 1
    assert "c" not in shelf and shelf.get("c") is None
    with pytest.raises(KeyError):
        shelf["c"]
    assert shelf.pop("b") == 2
    assert list(shelf.values()) == [1]


def test_a_tree_mapping_equals_itself_alone(root, elsewhere):
    shelf = root["shelf"] = Shelf()
    transaction.commit()
    assert shelf == shelf and shelf in {shelf}
    assert shelf != Shelf() and shelf != {}
    again = elsewhere().get(shelf._p_oid)
    assert shelf != again
    assert same(shelf, again)


def test_adding_to_a_tree_mapping_does_not_write_its_own_record(root):
    shelf = root["shelf"] = Shelf()
    transaction.commit()
    serial = shelf._p_serial
    shelf["a"] = work.Counter()
    transaction.commit()
    assert shelf._p_serial == serial


def test_objects_of_one_oid_in_two_databases_are_not_the_same(databases):
    connection = databases["main"].open()
    one, other = connection.root(), connection.get_connection("async").root()
    assert one._p_oid == other._p_oid
    assert same(one, one)
    assert not same(one, other)
    connection.close()
