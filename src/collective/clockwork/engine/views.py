"""Lists and mappings that write through to the job they belong to.

A job keeps its arguments as plain values in its own record. These views give
them the interface of zc.async, where they were persistent objects of their
own, at the price of two more records for each job.
"""

from __future__ import annotations

from BTrees.OOBTree import OOBTree
from collections.abc import MutableMapping
from collections.abc import MutableSequence
from collections.abc import Sequence


class Arguments(MutableSequence):
    """Positional arguments of a job."""

    def __init__(self, job):
        self._job = job

    def __getitem__(self, index):
        return self._job._args[index]

    def __len__(self):
        return len(self._job._args)

    def __setitem__(self, index, value):
        changed = list(self._job._args)
        changed[index] = value
        self._job._args = tuple(changed)

    def __delitem__(self, index):
        changed = list(self._job._args)
        del changed[index]
        self._job._args = tuple(changed)

    def insert(self, index, value):
        changed = list(self._job._args)
        changed.insert(index, value)
        self._job._args = tuple(changed)

    def __eq__(self, other):
        if isinstance(other, Sequence):
            return list(self) == list(other)
        return NotImplemented

    __hash__ = None

    def __repr__(self):
        return repr(list(self))


class Keywords(MutableMapping):
    """Keyword arguments of a job."""

    def __init__(self, job):
        self._job = job

    def _all(self) -> dict:
        return self._job._kwargs or {}

    def __getitem__(self, key):
        return self._all()[key]

    def __iter__(self):
        return iter(self._all())

    def __len__(self):
        return len(self._all())

    def __setitem__(self, key, value):
        self._job._kwargs = {**self._all(), key: value}

    def __delitem__(self, key):
        changed = dict(self._all())
        del changed[key]
        self._job._kwargs = changed

    def __repr__(self):
        return repr(self._all())


class Annotations(MutableMapping):
    """Notes on a job; the tree for them is made with the first note."""

    def __init__(self, job):
        self._job = job

    def _tree(self):
        return () if self._job._annotations is None else self._job._annotations

    def __getitem__(self, key):
        tree = self._tree()
        if not tree:
            raise KeyError(key)
        return tree[key]

    def __iter__(self):
        return iter(self._tree())

    def __len__(self):
        return len(self._tree())

    def __setitem__(self, key, value):
        if self._job._annotations is None:
            self._job._annotations = OOBTree()
        self._job._annotations[key] = value

    def __delitem__(self, key):
        if self._job._annotations is None:
            raise KeyError(key)
        del self._job._annotations[key]

    def __repr__(self):
        return repr(dict(self))
