"""Which handlers an event matches, found without looking at the others."""

from __future__ import annotations

from .listeners import Handler
from collections import Counter
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any


class Node:
    """The handlers of one spec, and the way to those of longer specs."""

    __slots__ = ("handlers", "longer")

    def __init__(self) -> None:
        #: By their ids.
        self.handlers: dict[int, Handler] = {}
        #: By the next keyword of the spec, and then by its value.
        self.longer: dict[str, dict[Any, Node]] = {}


class Index:
    """Handlers as a tree of specs, whose keywords are taken in the alphabet's order.

    A search goes only where keyword and value are among the details, so handlers with
    other values cost nothing. It adds nothing to the tree, and the last handler of a
    spec takes its part of the tree with it. Not safe against two threads at once.
    """

    def __init__(self) -> None:
        self._top = Node()
        #: In how many specs each keyword is.
        self.uses: Counter[str] = Counter()
        self._by_id: dict[int, Handler] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, handler: Handler) -> None:
        """Add a handler, whose id is new."""
        node = self._top
        for keyword, value in handler.spec:
            node = node.longer.setdefault(keyword, {}).setdefault(value, Node())
        node.handlers[handler.id] = handler
        self._by_id[handler.id] = handler
        self.uses.update(keyword for keyword, _value in handler.spec)

    def remove(self, handler_id: Any) -> Handler:
        """Take a handler out; KeyError if there is none with this id."""
        handler = self._by_id.pop(handler_id)
        self._remove_below(self._top, handler, 0)
        for keyword, _value in handler.spec:
            self.uses[keyword] -= 1
            if not self.uses[keyword]:
                del self.uses[keyword]
        return handler

    def find(self, details: Mapping[str, Any]) -> list[Handler]:
        """The handlers that match these details, in the order in which they came."""
        return sorted(self._below(self._top, details), key=lambda each: each.id)

    def _below(self, node: Node, details: Mapping[str, Any]) -> Iterator[Handler]:
        yield from node.handlers.values()
        for keyword, by_value in node.longer.items():
            if keyword in details:
                found = by_value.get(details[keyword])
                if found is not None:
                    yield from self._below(found, details)

    def _remove_below(self, node: Node, handler: Handler, depth: int) -> None:
        if depth == len(handler.spec):
            del node.handlers[handler.id]
            return
        keyword, value = handler.spec[depth]
        by_value = node.longer[keyword]
        child = by_value[value]
        self._remove_below(child, handler, depth + 1)
        if not child.handlers and not child.longer:
            del by_value[value]
            if not by_value:
                del node.longer[keyword]
