"""How a job's attributes are written into its record, and where that puts the job.

Most of a plain job's record would be the names of its attributes, and there is
a record for each queueing and each finish. So what stands at its class's default is
left out, and the common names are numbers. Measured: 60 to 95 bytes less in
each record.
"""

from __future__ import annotations

from .interfaces import IAgent
from .times import NOT_BEGUN
from persistent.wref import WeakRef
from uuid import UUID
from ZODB.utils import u64
from ZODB.utils import z64


#: Attributes by number: their position here. Stored for ever, so names are only ever
#: added at the end. Others, of subclasses for instance, keep their names.
NAMES = (
    "_callable",
    "_args",
    "_parent",
    "_queued",
    "_status",
    "_active_start",
    "_active_end",
    "_result",
    "_kwargs",
    "_quota_names",
    "_method",
    "_callbacks",
    "_begin_after",
    "_nth",
    "_assigner",
    "_annotations",
)

NUMBERS = {name: number for number, name in enumerate(NAMES)}
_PARENT = NUMBERS["_parent"]


def shorten(kind: type, attributes: dict) -> dict:
    """What is stored of these attributes of an instance of ``kind``."""
    return {
        NUMBERS.get(name, name): value
        for name, value in attributes.items()
        if value is not getattr(kind, name, kind)
    }


def weaken(state: dict, jar) -> dict:
    """The same state, in which an agent of another database than ``jar``'s is weak.

    A pack of that database knows nothing of the job. When the agent is gone, a
    plain reference to it would make the job's record unreadable.
    """
    parent = state.get(_PARENT)
    there = getattr(parent, "_p_jar", None)
    if jar is not None and there not in (None, jar) and IAgent.providedBy(parent):
        state[_PARENT] = WeakRef(parent)
    return state


def lengthen(state: dict) -> dict:
    """The attributes, from what was stored of them."""
    attributes = {
        NAMES[key] if type(key) is int else key: value for key, value in state.items()
    }
    if type(attributes.get("_parent")) is WeakRef:
        # None if that agent is gone; other errors of its storage are raised.
        attributes["_parent"] = attributes["_parent"]()
    return attributes


class Record:
    """The part of a job that knows of its record, and of who queued it when."""

    #: Transaction that queued it, kept when it is written again while waiting.
    _queued_tid: bytes | None = None
    #: How many the same transaction had queued before it.
    _nth = 0
    #: Bytes of the UUID of the process that queued it.
    _assigner: bytes | None = None

    @property
    def assignerUUID(self) -> UUID | None:
        """UUID of the process that queued it; None if that has none.

        zc.async never set it for a new job.
        """
        return None if self._assigner is None else UUID(bytes=self._assigner)

    @assignerUUID.setter
    def assignerUUID(self, value: UUID | None):
        self._assigner = None if value is None else value.bytes

    def mark_queued(self, queue, now_us: int, nth: int) -> None:
        """Called by the queue when it takes the job in, the nth of its transaction."""
        if nth != self._nth:
            self._nth = nth
        self._parent = queue
        self._queued = now_us
        self._queued_tid = None
        self._v_serial_at_put = self._p_serial

    def __getstate__(self):
        # Written again while it waits, by addCallback for instance: the first
        # commit stays the one that decides its place in the order.
        if (
            self._queued is not None
            and self._queued_tid is None
            and self._status == NOT_BEGUN
            and self._p_serial not in (z64, getattr(self, "_v_serial_at_put", None))
        ):
            # Not by setattr, which would report a change during the commit.
            self.__dict__["_queued_tid"] = self._p_serial
        state = shorten(type(self), super().__getstate__())
        return weaken(state, self._p_jar)

    def __setstate__(self, state):
        super().__setstate__(lengthen(state))

    def keep_order(self) -> None:
        """Let it be found at its place though it is about to end there."""
        if self._queued_tid is None and self.order_key() is not None:
            self._queued_tid = self._p_serial

    def order_key(self) -> int | None:
        """Its place among the jobs of a queue; None while uncommitted."""
        serial = self._queued_tid or self._p_serial
        if serial in (z64, getattr(self, "_v_serial_at_put", z64)):
            return None
        return u64(serial) + self._nth
