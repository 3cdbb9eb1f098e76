"""For the ZEO server: who freezes in the middle of a commit loses the commit lock.

From its vote to the end of its commit a client holds the lock of the storage.
If it freezes there nobody else can commit. ZEO has ``transaction-timeout`` for
that, but up to ZEO 6.2 at least the server then closes the connection in a way
that makes it forget to give the lock back: ``ServerProtocol.close`` marks it as
closed, and ``connection_lost`` takes that for an orderly end. From then on
nobody can commit until the server is started again.

``install`` puts a ``LockTimer`` in the place of ZEO's timer. The package
``zeoserver`` beside does so for a ``zeo.conf`` that imports it. Nothing else
needs this module.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from ZEO import StorageServer as server
from ZEO.asyncio.server import ServerProtocol
from ZODB.MappingStorage import MappingStorage

import asyncio
import logging
import socket


log = logging.getLogger(__name__)

#: Seconds that a client may hold the lock if no ``transaction-timeout`` is set.
TIMEOUT = 30
#: Seconds that a trial of this ZEO may take.
PATIENCE = 10

#: What ``install`` replaces in ZEO's module.
NAMES = ("TimeoutThread", "StubTimeoutThread")
_original = {name: getattr(server, name, None) for name in NAMES}


class UnknownZEO(ImportError):
    """This version of ZEO works in a way that this module does not know."""


class LockTimer:
    """Takes the commit lock of one storage from a client that keeps it too long.

    It has the methods of ZEO's ``TimeoutThread``, and needs no thread: the
    server calls them in its event loop, and only there the lock changes hands.
    ``timeout`` is in seconds; ValueError unless it is more than 0.
    """

    def __init__(self, timeout: float):
        if timeout <= 0:
            raise ValueError(
                f"transaction-timeout is {timeout}: it must be more than 0 seconds"
            )
        self.timeout = timeout
        #: Set by ZEO, for a thread.
        self.name = ""
        self._handle: asyncio.Handle | None = None

    def start(self) -> None:
        """Called when the server starts."""
        log.info("a client that holds the commit lock for %s s loses it", self.timeout)

    def is_alive(self) -> bool:
        """For ZEO's status report."""
        return True

    def begin(self, client) -> None:
        """This client has got the lock."""
        # The server writes the data before it goes on with its loop. The client
        # waits for that, so its time begins afterwards.
        loop = client.connection.loop
        self._handle = loop.call_soon(self._wait, loop, client)

    def _wait(self, loop, client) -> None:
        self._handle = loop.call_later(self.timeout, self._expire, client)

    def end(self, client) -> None:
        """This client has given the lock back."""
        self._handle.cancel()

    def _expire(self, client) -> None:
        client.log(
            f"client {client.connection.get_peername()} has held the commit lock "
            f"for {self.timeout} s: its commit is aborted, its connection closed",
            logging.CRITICAL,
        )
        cut_off(client)


def cut_off(client) -> None:
    """Abort what this client commits, let the next one commit, and disconnect it."""
    connection = client.connection
    transport = connection.sm_protocol.transport
    try:
        client.notify_disconnected()
    finally:
        connection.close()
        if transport is not None:
            # To close it means to wait until all that was sent has been read.
            transport.abort()


def install(timeout: float = TIMEOUT) -> None:
    """Let ZEO servers that this process starts later give the lock back.

    ``timeout`` is for servers without a ``transaction-timeout``, in seconds;
    ValueError unless it is more than 0. A ZEO that gives the lock back by
    itself keeps its own timer. UnknownZEO if this module can do nothing for
    it; then nothing is changed.
    """
    LockTimer(timeout)
    try:
        kind = _fitting_timer()
        server.TimeoutThread = partial(_made, kind)
        server.StubTimeoutThread = partial(_started, kind, timeout)
        if not isinstance(_lock_in_memory().timeout, kind):
            raise RuntimeError("its StorageServer takes its timer from elsewhere")
    except Exception as error:
        uninstall()
        # Whatever it is: better no server than one that can stop all commits.
        raise UnknownZEO(
            f"ZEO {version('ZEO')} is not known to {__name__} "
            f"({type(error).__name__}: {error}). Take the import of "
            "collective.clockwork.engine.zeoserver out of zeo.conf, and set no "
            "transaction-timeout unless this version gives the commit lock back"
        ) from error


def uninstall() -> None:
    """Let servers that are started later have ZEO's own timers."""
    for name, value in _original.items():
        setattr(server, name, value)


def _fitting_timer() -> type:
    if gives_back(lambda client: client.connection.close()):
        return _original["TimeoutThread"]
    if gives_back(cut_off):
        return LockTimer
    raise RuntimeError("the lock stays with a client that was cut off")


def _made(kind: type, timeout: float):
    if kind is not LockTimer:
        log.info("ZEO %s gives the commit lock back by itself", version("ZEO"))
    return kind(timeout)


def _started(kind: type, timeout: float):
    timer = _made(kind, timeout)
    timer.start()
    return timer


def _lock_in_memory():
    storages = {"1": MappingStorage()}
    return server.StorageServer(None, storages).lock_managers["1"]


def gives_back(disconnect: Callable) -> bool:
    """Whether others can commit when a client with the lock was disconnected so.

    Tried with ZEO's own classes on a storage in memory.
    """
    return asyncio.run(asyncio.wait_for(_try(disconnect), PATIENCE))


async def _try(disconnect: Callable) -> bool:
    loop = asyncio.get_running_loop()
    storages = server.StorageServer(None, {"1": MappingStorage()})
    lock = storages.lock_managers["1"]
    lock.timeout = LockTimer(TIMEOUT)
    client = storages.create_client_handler()
    protocol = ServerProtocol(loop, ("trial", 0), client, False)
    ours, theirs = socket.socketpair()
    with theirs:
        await loop.connect_accepted_socket(lambda: protocol, ours)
        protocol.finish_connection(b"Z5")
        client.register("1", False)
        client.tpc_begin(b"trial", b"", b"", {})
        try:
            client.vote(b"trial")
            if lock.locked is not client:
                raise RuntimeError("a vote does not take the lock")
            disconnect(client)
            await protocol.closing
            return lock.locked is None
        finally:
            client.tpc_abort(b"trial")
